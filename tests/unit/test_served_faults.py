"""What a server does half-way, and what becomes of it: prompts too long, loads in the middle, other models, no counts."""

from __future__ import annotations

import errno
import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.files import read_lines
from core.home import Home
from core.scoring.answers import read_answers
from core.serving.answering import LoadedModel
from core.serving.errors import ServerError
from core.store.results import import_answers
from jobs.bakeoff import record
from tests.support.clock import FakeClock
from tests.support.scripted_model import REFUSED, ScriptedModel
from tests.support.stored import add_job, fresh
from tests.unit.test_served_candidates import Bench, task

TOO_LONG = ServerError("the request exceeds the available context size", code="context_overflow", status=400)
TOO_LARGE = ServerError("request entity too large", code="server_refused", status=413)
SLOW = ServerError("nothing came for 300 s", code="server_slow")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    yield Home(tmp_path / "home").create()


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("jobs.bakeoff.asking", "jobs.patience"):
        monkeypatch.setattr(
            f"{module}.pause_before_retry",
            lambda error, tries, source: 0.0 if error.is_transient and tries < 5 else None,
        )


def warnings(bench: Bench, code: str) -> list[str]:
    events = (event for event, _ in read_lines(bench.context.attempt.events))
    return [event["message"] for event in events if event["kind"] == "warning" and event["code"] == code]


@pytest.mark.parametrize("refused", [TOO_LONG, TOO_LARGE])
def test_inputs_that_are_too_long_end_nothing_but_themselves(home: Home, refused: ServerError) -> None:
    """Four of ten, each asked three times: twelve holes in a row, and every other input has its answers."""
    bench = Bench(home, task("judge", 10, repeats=3))
    answers = bench.go(ScriptedModel(faults=deque([None, *[None] * 9, *[refused] * 12])))
    missing = [answer.input_id for answer in answers if answer.fault == "server"]
    assert len(answers) == 30 and missing == [name for name in ("i3", "i4", "i5", "i6") for _ in range(3)]


def test_one_input_that_is_refused_each_time_ends_nothing_and_three_in_a_row_do(home: Home) -> None:
    bench = Bench(home, task("judge", 8, repeats=3))
    once = bench.go(ScriptedModel(faults=deque([None, *[REFUSED] * 6])))
    assert [answer.fault for answer in once] == ["server"] * 6 + [None] * 18
    bench.run_dir.answers.unlink()
    more = bench.go(ScriptedModel(faults=deque([None, *[REFUSED] * 30])))
    assert {answer.input_id for answer in more} == {"i0", "i1", "i2"} and {answer.fault for answer in more} == {
        "server"
    }


@pytest.mark.parametrize(("load", "counted"), [(20.0, 20.0), (0.05, 0.0), (None, 0.0)])
def test_a_load_in_the_middle_is_no_part_of_how_fast_a_model_answers(
    home: Home, load: float | None, counted: float
) -> None:
    """Its keep-alive ran out, or another client's model took its place."""
    bench = Bench(home, task("judge", 1, repeats=1))
    model = ScriptedModel(tells={"load_seconds": load, "first_token_seconds": 20.5, "seconds": 30.0})
    monkey = pytest.MonkeyPatch()
    with monkey.context() as patch:
        patch.setattr("jobs.bakeoff.in_flight.InFlight.end", lambda in_flight, place: (30.0, 1))
        (answer,) = bench.go(model)
    assert answer.seconds == pytest.approx(30.0 - counted)
    assert answer.first_token_seconds == pytest.approx(20.5 - counted)
    assert answer.tokens_per_second == pytest.approx(answer.completion_tokens / answer.seconds)


def test_a_server_that_is_slow_is_asked_to_load_the_model_which_may_take_longer_than_an_answer(home: Home) -> None:
    bench = Bench(home, task("judge", 2, repeats=1))
    model = ScriptedModel(faults=deque([None, SLOW]))
    answers = bench.go(model)
    assert [answer.fault for answer in answers] == [None, None] and answers[0].tries == 2
    assert len(model.loads) == 2


def test_another_model_than_was_asked_for_is_told_once(home: Home) -> None:
    bench = Bench(home, task("judge", 3, repeats=1))
    bench.go(ScriptedModel(tells={"other_model": "tiny"}))
    told = warnings(bench, "other_model")
    assert set(told) == {"s:m: the server says that `tiny` answered"}


def test_a_server_without_counts_counts_down_all_the_same(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pieces are taken for tokens; what is stored says that nobody knows how many there were."""
    clock = FakeClock()
    monkeypatch.setattr(record, "time", clock)
    bench = Bench(home, task("judge", 4, repeats=1))
    model = ScriptedModel(write=lambda question: "word " * 40, tells={"completion_tokens": None, "prompt_tokens": None})
    seen: list[tuple[int, ...]] = []

    def add(tally: Any, answer: Any, tokens: int | None = None) -> None:
        seen.append((answer.completion_tokens, tokens or 0))

    monkeypatch.setattr("jobs.bakeoff.record.Tally.add", add)
    answers = bench.go(model)
    assert seen == [(0, 40)] * 4
    assert {answer.tokens_per_second for answer in answers} == {None}


def test_a_window_that_is_shorter_than_wanted_is_told(home: Home) -> None:
    bench = Bench(home, task("judge", 1, repeats=1, context=4096))
    model = ScriptedModel()
    model.load = lambda window: LoadedModel(1.0, context_length=min(window, 2048))  # type: ignore[method-assign]
    bench.go(model)
    (told,) = warnings(bench, "shorter_window")
    assert "a window of 2048 tokens, 4096 are wanted" in told


def test_a_disk_that_fills_up_in_the_middle_of_a_line_loses_that_answer_alone(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(home, task("judge", 4, repeats=1))
    lines, write = 0, os.write

    def fills_up(descriptor: int, content: bytes) -> int:
        nonlocal lines
        if Path(f"/proc/self/fd/{descriptor}").readlink() != bench.run_dir.answers.resolve():
            return write(descriptor, content)
        lines += 1
        if lines == 3:
            return write(descriptor, content[: len(content) // 2])
        if lines > 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, content)

    with monkeypatch.context() as full:
        full.setattr("core.files.os.write", fills_up)
        with pytest.raises(OSError, match="No space left"):
            bench.go(ScriptedModel())
    assert len(read_answers(bench.run_dir.answers)) == 2
    _, connection = fresh(tmp_path / "stored")
    job_id = add_job(connection)
    offset = import_answers(connection, job_id, bench.run_dir)
    again = ScriptedModel()
    assert len(bench.go(again)) == 4
    asked = [one.messages[-1][1] for one in again.asked[1:]]
    assert asked == ["judge 2", "judge 3"], "what was written whole is not asked for again"
    import_answers(connection, job_id, bench.run_dir, offset)
    assert connection.execute("SELECT count(*), count(fault) FROM answers").fetchone()[:] == (4, 0)
    connection.close()
