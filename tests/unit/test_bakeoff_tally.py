"""What a bake-off tells while it runs: how many answers there are, and how long the others take."""

from __future__ import annotations

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from core.events import EventReader
from core.home import Home
from core.progress import Progress, fold
from core.scoring.answers import Answer, Fault
from jobs.bakeoff import record
from jobs.bakeoff.record import Tally
from jobs.context import JobContext
from tests.support.clock import FakeClock
from tests.support.scripted_model import ScriptedModel
from tests.support.waiting import wait_until
from tests.unit.test_served_candidates import Bench, task


class Played:
    """A tally on a clock of the test's, and the figures that its events come to."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, **planned: int) -> None:
        self.clock = FakeClock()
        monkeypatch.setattr(record, "time", SimpleNamespace(monotonic=self.clock.monotonic))
        self.context: JobContext = Bench(Home(folder / "home").create(), task("judge", 1)).context
        self.tally = Tally(self.context, {name: {"judge": count} for name, count in planned.items()}, [list(planned)])

    @property
    def progress(self) -> Progress:
        progress = Progress()
        for event in EventReader(self.context.attempt.events):
            progress = fold(progress, event)
        return progress

    def answer(self, candidate: str, tokens: int, seconds: float, fault: Fault | None = None) -> None:
        values: dict[str, Any] = dict.fromkeys(Answer.__dataclass_fields__, None)
        known = {
            "candidate": candidate,
            "task": "judge",
            "completion_tokens": tokens,
            "seconds": seconds,
            "fault": fault,
        }
        self.tally.add(Answer(**{**values, **known}))


def test_answers_of_a_server_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(tmp_path, monkeypatch, base=20, tuned=20)
    played.tally.loaded("base", 9.0)
    played.tally.answering("base", "judge", 20)
    for number in range(20):
        played.clock.pass_time(1.0)
        played.answer("base", 50, 1.0, "server" if number == 3 else None)
    told = played.progress
    assert (told.done, told.total, told.eta_seconds) == (20, 40, None)
    assert told.eta_low_seconds is not None and told.eta_low_seconds < 20.0 < (told.eta_high_seconds or 0.0)
    played.tally.answering("tuned", "judge", 20)
    for _ in range(10):
        played.clock.pass_time(3.0)
        played.answer("tuned", 50, 3.0)
    assert played.progress.eta_seconds == pytest.approx(30.0, rel=0.05)
    played.clock.pass_time(1.5)
    played.tally.tell("tuned")
    assert played.progress.eta_seconds == pytest.approx(28.5, rel=0.05), "what passes is over"
    played.tally.skip("tuned", "judge", 10)
    played.tally.tell("tuned")
    assert (played.progress.eta_seconds, played.progress.total) == (0.0, 30)


def test_a_batch_counts_down_by_its_steps_and_the_last_one_is_smaller(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played = Played(tmp_path, monkeypatch, base=40)
    played.tally.held("base", "judge", 2)
    played.tally.answering("base", "judge", 38, batch=16, limit=512)
    left: list[float] = []
    for size in (16, 16, 6):
        for step in range(1, 101):
            played.clock.pass_time(0.5)
            played.tally.step()
            if step > 100 - size:
                played.answer("base", step, 99.0)
            played.tally.sign_of_life("base", 10.0)
            if (eta := played.progress.eta_seconds) is not None and size < 16:
                left.append(eta)
    assert played.progress.done == 40 and played.progress.eta_seconds == 0.0
    assert len(left) == 100
    # Before its first steps nobody knows that a smaller batch takes as long here.
    assert left[5:90] == sorted(left[5:90], reverse=True)
    assert left[5] == pytest.approx(47.0, rel=0.1) and left[50] == pytest.approx(24.5, rel=0.1)


def test_a_batch_that_was_given_up_is_no_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    played = Played(tmp_path, monkeypatch, base=20, tuned=20)
    played.tally.answering("base", "judge", 20, batch=16, limit=512)
    played.clock.pass_time(1.0)
    played.answer("base", 2, 1.0)
    played.tally.skip("base", "judge", 19)
    played.tally.answering("tuned", "judge", 20, batch=16, limit=512)
    played.tally.tell("tuned")
    assert (played.progress.left, played.progress.total) == ("", 21)


def test_a_long_answer_of_a_server_is_seen_while_it_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Held in its middle: how many tokens are there, how fast they come and what is left is told before it is over."""
    monkeypatch.setattr(record, "SECONDS_PER_SIGN", 0.0)
    monkeypatch.setattr(record, "SECONDS_PER_RECKONING", 0.0)
    bench = Bench(Home(tmp_path / "home").create(), task("judge", 1, repeats=1))
    go_on = threading.Event()
    model = ScriptedModel(write=lambda question: "word " * 40)
    model.at_piece = lambda number: None if number < 30 or len(model.asked) == 1 else (go_on.wait(60), None)[1]
    asking = threading.Thread(target=bench.go, args=(model,))
    asking.start()
    try:
        seen = wait_until(lambda: _told(bench, 30))
    finally:
        go_on.set()
        asking.join()
    assert seen.done == 0 and seen.tokens_per_second is not None and seen.left, "a range before any answer is whole"
    ended = _told(bench, None)
    assert ended is not None and (ended.done, ended.tokens_coming) == (1, None)


def _told(bench: Bench, tokens: int | None) -> Progress | None:
    """The figures once they say that so many tokens are coming."""
    progress = Progress()
    for event in EventReader(bench.context.attempt.events):
        progress = fold(progress, event)
    return progress if progress.tokens_coming == tokens else None
