"""A console knows what has changed since its bake-offs: files are looked at, servers asked, and nothing waits for either."""

from __future__ import annotations

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from core.config.project import Project
from core.home import Home
from core.jobfile.bakeoff import CandidateSpec
from core.results.rescoring import rescore
from core.serving.answering import ServedIdentity
from core.staleness.present_servers import Ask, Told, ask_server
from core.store.database import open_database
from tests.support import measured_bakeoff
from tests.support.measured_bakeoff import SERVED, MeasuredBakeoff
from tests.support.ollama_standin import OllamaStandin
from tests.support.waiting import wait_until
from tui.model.background_reader import BackgroundReader
from tui.model.leaderboards import with_changes
from tui.model.snapshot import Board, Changed
from tui.model.staleness_reader import REST, StalenessReader, rest_seconds

NEVER = 3600.0
MODEL = "qwen3:4b"
OTHER_CHECK = [{"check": "regex", "id": "plan", "pattern": "^# ", "multiline": True}]


@pytest.fixture
def server() -> Iterator[OllamaStandin]:
    with OllamaStandin("0.33.0-rc2") as standin:
        standin.add_model(MODEL)
        yield standin


@pytest.fixture
def made(tmp_path: Path, server: OllamaStandin, monkeypatch: pytest.MonkeyPatch) -> MeasuredBakeoff:
    """A bake-off whose served candidates the stand-in answered for, as it is now."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setitem(measured_bakeoff.SERVER, "url", server.url)
    spec = {"name": "c", "form": "served", "server": measured_bakeoff.SERVER, "served_model": MODEL}
    measured = ask_server(CandidateSpec.model_validate(spec))
    assert isinstance(measured, ServedIdentity)
    monkeypatch.setattr(measured_bakeoff, "SERVED", measured)
    return measured_bakeoff.measured_bakeoff(tmp_path)


@pytest.fixture
def start() -> Iterator[Callable[..., StalenessReader]]:
    started: list[StalenessReader] = []

    def begin(home: Home, job_id: int, ask: Ask | None = None, look_seconds: float = NEVER) -> StalenessReader:
        reader = StalenessReader(home, lambda: None, look_seconds=look_seconds, ask_seconds=NEVER, ask=ask)
        started.append(reader)
        reader.watch({(job_id, 1, 0)})
        reader.start()
        return reader

    yield begin
    for reader in started:
        reader.stop()
        reader.join()


def board_with(reader: StalenessReader, job_id: int) -> Changed:
    (board,) = with_changes((Board(job_id, "plan", "p", "done", 0.0),), reader.looked)
    return board.changed_anywhere or Changed()


def test_servers_are_asked_by_itself_and_again_by_a_key(
    made: MeasuredBakeoff, server: OllamaStandin, start: Callable[..., StalenessReader]
) -> None:
    reader = start(made.home, made.job_id)

    def shown() -> Changed:
        return board_with(reader, made.job_id)

    wait_until(lambda: shown().asked is not None and not shown().unknown, what="the first answer of the server")
    assert (shown().stale, shown().asking) == ("", False)
    server.add_model(MODEL, blob="sha256:another")
    reader.ask_again(older_than=NEVER)
    assert not shown().stale, "its answer is not so old"
    reader.ask_again()
    wait_until(lambda: "weights of box:qwen3:4b and" in shown().stale, what="other weights under the same name")
    del server.models[next(iter(server.models))]
    reader.ask_again()
    wait_until(lambda: "(no longer on its server)" in shown().stale, what="a model that is gone")
    server.__exit__(None, None, None)
    reader.ask_again()
    wait_until(lambda: "(its server did not answer)" in shown().unknown, what="a server that is gone")
    assert not shown().stale, "what cannot be known is not told as changed"


def test_files_are_looked_at_while_a_server_stalls_and_it_is_unknown_until_it_tells(
    made: MeasuredBakeoff, start: Callable[..., StalenessReader]
) -> None:
    released = threading.Event()

    def stalls(candidate: CandidateSpec) -> Told:
        released.wait()
        return SERVED

    reader = start(made.home, made.job_id, ask=stalls)
    try:
        wait_until(
            lambda: "(its server was not asked)" in board_with(reader, made.job_id).unknown, what="the first look"
        )
        assert reader.looked.asking
        made.task("plan", format=OTHER_CHECK)
        reader.look_again()
        wait_until(lambda: "checks of plan (~ plan)" in board_with(reader, made.job_id).stale, what="the other check")
        assert reader.looked.asking and board_with(reader, made.job_id).asked is None
    finally:
        released.set()


def test_what_nobody_expected_of_a_server_leaves_it_unknown_and_ends_nothing(
    made: MeasuredBakeoff, start: Callable[..., StalenessReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    reports: list[BaseException] = []
    monkeypatch.setattr("tui.model.staleness_reader.write_crash_report", lambda error, doing: reports.append(error))
    answers: list[Told | None] = [None, "no_answer"]

    def breaks_once(candidate: CandidateSpec) -> Told:
        told = answers.pop(0)
        if told is None:
            raise ZeroDivisionError
        return told

    reader = start(made.home, made.job_id, ask=breaks_once)
    wait_until(lambda: board_with(reader, made.job_id).asked, what="the failure")
    assert "(its server was not asked)" in board_with(reader, made.job_id).unknown and len(reports) == 1
    reader.ask_again()
    wait_until(lambda: "(its server did not answer)" in board_with(reader, made.job_id).unknown, what="the next answer")


def test_a_write_to_the_database_is_no_reason_to_look_at_files(
    made: MeasuredBakeoff, start: Callable[..., StalenessReader], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training writes to it every few seconds; each look reads the whole project."""
    looks: list[frozenset[int]] = []
    first, look = threading.Event(), StalenessReader._look

    def counted(self: StalenessReader, served: frozenset[int]) -> None:
        look(self, served)
        looks.append(served)
        first.set()

    def tells(candidate: CandidateSpec) -> Told:
        first.wait()
        return "no_answer"

    monkeypatch.setattr(StalenessReader, "_look", counted)
    reader = start(made.home, made.job_id, ask=tells)
    wait_until(lambda: len(looks) == 2, what="looks before and after the answer of the server")
    assert reader.looked.asked is not None and looks == [{made.job_id}] * 2
    for _ in range(20):
        reader.watch({(made.job_id, 1, 0)})
    reader.watch({(made.job_id, 1, 1)})
    wait_until(lambda: len(looks) > 2, what="the look at another result")
    assert len(looks) == 3


def test_looks_take_a_small_share_of_the_time_however_long_they_are() -> None:
    assert rest_seconds(0.01) == 15.0
    assert rest_seconds(8.0) == REST * 8.0


def test_leaderboards_say_it_and_so_do_the_original_ones(
    made: MeasuredBakeoff, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(BackgroundReader, "_start_runner", lambda self: None)
    made.task("plan", format=OTHER_CHECK)
    with contextlib.closing(open_database(made.home)) as connection:
        rescore(made.home, connection, made.job_id, author="anna")
    reader = BackgroundReader(made.home, lambda: Project.find(made.project), lambda: None, NEVER)
    reader.start()
    try:

        def plan() -> Board | None:
            return next((one for one in reader.found.boards or () if one.task == "plan"), None)

        wait_until(lambda: (one := plan()) and one.changed and one.changed.asked, what="the first look")
        board = plan()
        assert board is not None and board.changed is not None and board.original is not None
        assert not board.changed.stale and not board.changed.unknown
        assert board.original.changed is not None and "checks of plan" in board.original.changed.stale
        assert plan() is board, "what is not new is the same object: nothing is drawn or read again"
        shutil.rmtree(made.model)
        reader.staleness.look_again()
        wait_until(
            lambda: (one := plan()) and one.changed and "(gone)" in one.changed.stale, what="weights that are gone"
        )
        later = plan()
        assert later is not None and later.candidates is board.candidates
    finally:
        reader.stop()
        reader.join()
        reader.staleness.join()
