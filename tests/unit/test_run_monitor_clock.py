"""The guard of the runs where clocks are set and runners stand still: played seconds, a run that steps once in each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from core.attempt.launcher import Activity
from core.attempt.local import LocalLauncher
from core.config.settings import WatchSettings
from core.files import write_json
from core.home import AttemptDir, Home
from core.watchdog.run_monitor import RunMonitor
from tests.support.attempts import begin_attempt, home_with_kernel_log, row
from tests.support.clock import FakeClock

QUICK = {"hang_steps": 1, "hang_seconds": 2}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    return home_with_kernel_log(tmp_path, monkeypatch)


@pytest.fixture
def attempt(home: Home) -> AttemptDir:
    return begin_attempt(home)


@dataclass
class Stepping:
    """A run that makes a step a second, a runner that looks at it five times a second, and the clock of both."""

    attempt: AttemptDir
    clock: FakeClock
    monitor: RunMonitor
    step: int = 0

    @classmethod
    def of(cls, home: Home, attempt: AttemptDir) -> Stepping:
        write_json(attempt.run_json, {"job": None})
        clock = FakeClock()
        made = cls(attempt, clock, RunMonitor(home, WatchSettings(**QUICK), None, Idle(), clock))
        assert made.steps(20) == []
        return made

    def second(self, *, steps: bool) -> list[str]:
        """What is found within a second."""
        codes = []
        for fifth in range(5):
            self.monitor.follow(row(created_at=self.clock.time()), self.attempt)
            if steps and fifth == 4:
                self.step += 1
                event = {
                    "seq": self.step,
                    "time": self.clock.time(),
                    "kind": "step",
                    "step": self.step,
                    "total": 10_000,
                }
                self.monitor.on_event(row(), self.attempt, event)
            codes += [finding.code for _, finding in self.monitor.tick()]
            self.clock.pass_time(0.2)
        return codes

    def steps(self, count: int) -> list[str]:
        return [code for _ in range(count) for code in self.second(steps=True)]

    def silent(self, seconds: int) -> list[str]:
        return [code for _ in range(seconds) for code in self.second(steps=False)]


class Idle(LocalLauncher):
    """Every process sleeps and uses no CPU time, as one that waits for its GPU does: nothing but events shows that it lives."""

    def __init__(self) -> None:
        pass

    def activity(self, attempt: AttemptDir) -> Activity | None:
        return Activity("S", 1.0)


def test_a_run_that_stops_stepping_is_found_on_the_fake_clock_as_well(home: Home, attempt: AttemptDir) -> None:
    stepping = Stepping.of(home, attempt)
    assert stepping.silent(20) == ["hang"]


@pytest.mark.parametrize("jump_seconds", [-7200.0, -20.0, 20.0, 7200.0, 30 * 86400.0])
def test_a_clock_that_is_set_makes_no_run_look_silent(home: Home, attempt: AttemptDir, jump_seconds: float) -> None:
    """A machine that was suspended looks the same: the time of day has gone on, the monotonic clock has not."""
    stepping = Stepping.of(home, attempt)
    stepping.clock.set_time_of_day(stepping.clock.time() + jump_seconds)
    assert stepping.steps(20) == []
    assert stepping.silent(20) == ["hang"], "and hides none"


def test_a_clock_that_is_set_between_a_step_and_its_being_read_changes_nothing(home: Home, attempt: AttemptDir) -> None:
    for jump_seconds in (7200.0, -3600.0):
        stepping = Stepping.of(home, attempt)
        stepping.monitor.follow(row(), attempt)
        written = stepping.clock.time()
        stepping.clock.set_time_of_day(written + jump_seconds)
        stepping.step += 1
        event = {"seq": stepping.step, "time": written, "kind": "step", "step": stepping.step, "total": 10_000}
        stepping.monitor.on_event(row(), attempt, event)
        assert [finding for _, finding in stepping.monitor.tick()] == []
        assert stepping.steps(10) == []
        stepping.monitor.finish(7, attempt)


def test_a_runner_that_was_itself_stopped_takes_no_run_for_silent(home: Home, attempt: AttemptDir) -> None:
    """Nobody looked for an hour: what the run did then is not known."""
    stepping = Stepping.of(home, attempt)
    stepping.clock.pass_time(3600)
    assert stepping.second(steps=False) == []
    assert stepping.steps(5) == []
