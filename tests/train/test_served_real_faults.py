"""A real llama-server that is killed, restarted or replaced in the middle of a stream, or asked for more than it has slots."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from core.home import Home
from core.process.ports import free_port
from core.scoring.answers import Answer
from core.serving.address import server_address
from core.serving.answering import Question, Reply
from core.serving.errors import ServerError
from core.serving.openai_model import OpenAIModel
from jobs.bakeoff import in_flight
from jobs.bakeoff.record import AnswerRecord
from tests.support.llama_cpp import llama_cpp, small_q8_0
from tests.support.questions import question
from tests.support.waiting import wait_until
from tests.unit.test_served_candidates import Bench, task

pytestmark = pytest.mark.train

WINDOW = 512
GREEDY = question(messages=(("user", "Count from one to twenty."),), max_new_tokens=24, context_length=WINDOW)


class Served:
    """A llama-server of one slot at one port, which can be killed and started again with another file."""

    def __init__(self, file: Path, log: Path) -> None:
        self.port, self.log = free_port(), log
        self.address = server_address(f"http://127.0.0.1:{self.port}/v1")
        self.starts = 0
        self.start(file)

    def start(self, file: Path) -> None:
        program = llama_cpp().require("llama-server")
        flags = ["--port", str(self.port), "-c", str(WINDOW), "-np", "1", "-t", "2", "--alias", "small"]
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [program, "-m", file, "--host", "127.0.0.1", *flags], stdout=out, stderr=out
            )
        self.starts += 1
        wait_until(self.is_ready, what="a server that has loaded")

    def is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text(errors="replace")[-2000:]
        try:
            OpenAIModel("box", self.address, "small").load(WINDOW)
        except ServerError as error:
            assert error.is_transient, error
            return False
        return True

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class InTheMiddle(OpenAIModel):
    """What happens `at` a piece of an answer: (which answer, which piece), once."""

    at: tuple[int, int] = (0, 0)
    happens: Callable[[], None] = staticmethod(lambda: None)
    asked = 0

    def ask(
        self, question: Question, stopped: Callable[[], bool] = lambda: False, came: Callable[[], None] = lambda: None
    ) -> Reply:
        self.asked += 1
        number, pieces = self.asked, 0

        def counted() -> None:
            nonlocal pieces
            pieces += 1
            came()
            if (number, pieces) == self.at:
                self.happens()

        return super().ask(question, stopped, counted)


@pytest.fixture
def served(model_cache: Path, tmp_path: Path) -> Iterator[Served]:
    made = Served(small_q8_0(model_cache), tmp_path / "server.log")
    yield made
    made.kill()


def answered(served: Served, model: InTheMiddle, folder: Path, **more: object) -> list[Answer]:
    bench = Bench(Home(folder).create(), task("judge", 4, repeats=1, context=WINDOW), **more)
    bench.go(model)  # type: ignore[arg-type]
    return AnswerRecord(bench.context, bench.spec, bench.inputs).answers


def test_more_askers_than_slots_get_the_same_as_one_alone_and_see_the_same_model(served: Served) -> None:
    model = OpenAIModel("box", served.address, "small")
    pieces: list[None] = []
    stamp, alone = model.stamp(), model.ask(GREEDY, came=lambda: pieces.append(None))
    # A piece is a token, but for the last one, which ends the text, and for halves of characters.
    assert alone.completion_tokens is not None and 0 <= alone.completion_tokens - len(pieces) <= 3
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: model.ask(GREEDY), range(8)))
        assert model.stamp() == stamp
    assert {reply.text for reply in replies} == {alone.text}
    assert {reply.other_model for reply in replies} == {None}


def test_a_server_killed_in_the_middle_of_a_stream_gives_the_same_answers_as_one_that_was_not(
    served: Served, model_cache: Path, tmp_path: Path
) -> None:
    undisturbed = answered(served, InTheMiddle("box", served.address, "small"), tmp_path / "one")
    model = InTheMiddle("box", served.address, "small")

    def killed() -> None:
        served.kill()
        served.start(small_q8_0(model_cache))

    model.at, model.happens = (3, 5), killed
    disturbed = answered(served, model, tmp_path / "two")
    assert served.starts == 2
    assert [(one.input_id, one.text, one.fault) for one in disturbed] == [
        (one.input_id, one.text, one.fault) for one in undisturbed
    ]
    assert sorted(one.tries for one in disturbed) == [1, 1, 1, 2], "only what was on its way was asked for again"


def test_a_server_that_comes_back_with_another_file_is_another_model_and_the_first_again_afterwards(
    served: Served, model_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_flight, "SECONDS_BETWEEN_STAMPS", 0.0)
    monkeypatch.setattr(in_flight, "MOST_SHARE_OF_STAMPS", 1e9)
    first, other = small_q8_0(model_cache), tmp_path / "other.gguf"
    shutil.copy(first, other)
    model = InTheMiddle("box", served.address, "small")
    before = model.identity()
    files = [other, first]

    def replaced() -> None:
        served.kill()
        served.start(files.pop(0))
        # The second time in the middle of an answer of the other one.
        model.at = (model.asked + 3, 5) if files else (0, 0)

    model.at, model.happens = (4, 5), replaced
    answers = answered(served, model, tmp_path / "home")
    assert served.starts == 3 and model.identity() == before
    assert {one.identity for one in answers} == {before.sha256}
    assert len(answers) == 4 and "server" not in {one.fault for one in answers}


def test_an_input_that_does_not_fit_is_missing_and_the_others_are_there(served: Served, tmp_path: Path) -> None:
    bench = Bench(Home(tmp_path / "home").create(), task("judge", 5, repeats=3, context=WINDOW))
    long = bench.inputs["judge"][1]
    bench.inputs["judge"] = tuple(
        one.model_copy(update={"input": "bread " * 2000}) if one.id == long.id else one for one in bench.inputs["judge"]
    )
    answers = bench.go(OpenAIModel("box", served.address, "small"))  # type: ignore[arg-type]
    assert [one.input_id for one in answers if one.fault == "server"] == [long.id] * 3
    assert len(answers) == 15 and all("context" in (one.problem or "") for one in answers if one.fault == "server")
