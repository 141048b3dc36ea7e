"""Which signals a job that is asked to stop gets, and when: a real process, and a clock that is played."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.attempt.local import LocalLauncher
from core.attempt.stopping import StopEscalation, ask_to_stop, stop_asked_for
from core.files import append_line, write_json
from core.home import AttemptDir, Home
from core.reasons import Reason
from tests.support.attempts import begin_attempt
from tests.support.clock import FakeClock
from tests.support.running import identity, running

pytestmark = pytest.mark.process

NOTE_SIGNALS = """
import signal, sys, time
def note(number, frame):
    print(signal.Signals(number).name, flush=True)
signal.signal(signal.SIGINT, note)
signal.signal(signal.SIGTERM, note)
print("here", flush=True)
while True:
    time.sleep(600)
"""


@pytest.fixture
def attempt(tmp_path: Path) -> AttemptDir:
    return begin_attempt(Home(tmp_path / "home").create())


GRACE_SECONDS = 10.0


def sent(name: str, after_seconds: float) -> Reason:
    return Reason("signal_sent", {"signal": name, "after_seconds": after_seconds})


@dataclass
class Stopping:
    """A real process that notes the signals it gets, asked to stop, and a runner that looks at it as its clock says."""

    attempt: AttemptDir
    process: subprocess.Popen[str]
    clock: FakeClock
    escalation: StopEscalation

    @classmethod
    def of(cls, attempt: AttemptDir, process: subprocess.Popen[str]) -> Stopping:
        write_json(attempt.run_json, {"job": identity(process).to_json(), "shim": None})
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        clock = FakeClock()
        return cls(attempt, process, clock, cls.runner(attempt, clock))

    @staticmethod
    def runner(attempt: AttemptDir, clock: FakeClock) -> StopEscalation:
        return StopEscalation(LocalLauncher(Home(attempt.path), None), GRACE_SECONDS, clock)

    def another_runner(self) -> None:
        self.escalation = self.runner(self.attempt, self.clock)

    def look(self, *, may_kill: bool = False) -> Reason | None:
        return self.escalation.escalate(self.attempt, may_kill=may_kill)

    def watch_for(self, seconds: float, *, may_kill: bool = False) -> list[Reason]:
        """What a runner does that looks once a second."""
        told = [self.look(may_kill=may_kill)]
        for _ in range(int(seconds)):
            self.clock.pass_time(1)
            told.append(self.look(may_kill=may_kill))
        return [reason for reason in told if reason is not None]

    def heard(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@pytest.fixture
def stopping(attempt: AttemptDir) -> Iterator[Stopping]:
    with running([sys.executable, "-c", NOTE_SIGNALS]) as process:
        yield Stopping.of(attempt, process)


def test_each_signal_is_sent_once_after_a_grace_of_its_own(stopping: Stopping) -> None:
    assert stopping.watch_for(9) == []
    assert stopping.watch_for(1) == [sent("SIGINT", 10)]
    assert stopping.heard() == "SIGINT"
    assert stopping.watch_for(9) == []
    assert stopping.watch_for(1) == [sent("SIGTERM", 20)]
    assert stopping.heard() == "SIGTERM"
    assert stopping.watch_for(9) == []
    left = Reason("still_running", {"signal": "SIGTERM", "job": 7})
    assert stopping.watch_for(1000) == [left], "with a GPU in hand the rest is the person's, which is said once"
    assert stopping.process.poll() is None
    assert stopping.watch_for(1, may_kill=True) == [sent("SIGKILL", 30)]
    assert stopping.process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("jump_seconds", [-7200.0, 7200.0, 30 * 86400.0])
def test_a_clock_that_is_set_hurries_and_delays_no_signal(stopping: Stopping, jump_seconds: float) -> None:
    """A machine that was suspended looks the same: the time of day has gone on, the monotonic clock has not."""
    assert stopping.watch_for(5) == []
    stopping.clock.set_time_of_day(stopping.clock.time() + jump_seconds)
    assert stopping.watch_for(4, may_kill=True) == []
    assert stopping.watch_for(1, may_kill=True) == [sent("SIGINT", 10)]
    assert stopping.heard() == "SIGINT"


def test_a_runner_that_was_itself_stopped_has_not_watched_that_time(stopping: Stopping) -> None:
    stopping.watch_for(1)
    stopping.clock.pass_time(3600)
    assert stopping.look(may_kill=True) is None
    assert stopping.watch_for(10, may_kill=True) == [sent("SIGINT", 10)], "one signal, and the mildest first"


def test_a_job_that_nobody_watched_for_hours_gets_the_mildest_signal_first(stopping: Stopping) -> None:
    """It was asked to stop, and no runner lived."""
    stopping.clock.pass_time(7200)
    assert stopping.watch_for(9, may_kill=True) == []
    assert stopping.watch_for(1, may_kill=True) == [sent("SIGINT", 10)]
    assert stopping.heard() == "SIGINT"


def test_a_runner_that_takes_over_sends_the_next_signal_after_a_grace_that_it_has_watched(stopping: Stopping) -> None:
    assert stopping.watch_for(10, may_kill=True) == [sent("SIGINT", 10)]
    assert stopping.heard() == "SIGINT"
    stopping.clock.pass_time(3600)
    stopping.another_runner()
    assert stopping.watch_for(9, may_kill=True) == []
    assert stopping.watch_for(1, may_kill=True) == [sent("SIGTERM", 20)]
    assert stopping.heard() == "SIGTERM"


def test_a_signal_of_a_person_is_no_step_of_the_runner_s(stopping: Stopping) -> None:
    append_line(stopping.attempt.signals, {"time": 1.0, "signal": "SIGKILL", "by": "anna"})
    assert stopping.watch_for(10) == [sent("SIGINT", 10)]


def test_nothing_is_signalled_when_the_job_has_gone(stopping: Stopping) -> None:
    stopping.process.kill()
    stopping.process.wait()
    assert stopping.watch_for(30, may_kill=True) == []


def test_what_stops_no_more_is_forgotten(stopping: Stopping) -> None:
    stopping.watch_for(9)
    stopping.escalation.forget(set())
    assert stopping.watch_for(9) == []


def test_a_request_to_stop_says_why_and_can_be_left_before_the_attempt_has_a_folder(tmp_path: Path) -> None:
    from core.files import read_json

    attempt = Home(tmp_path).run_dir(1).attempt(1)
    ask_to_stop(attempt, "hold", Reason("stopping_to_hold"))
    reason = Reason("stopping_for_client", {"message": "judge:v1 was loaded by a client"})
    ask_to_stop(attempt, "preempted", reason)
    assert read_json(attempt.stop_request)["why"] == "preempted"
    assert stop_asked_for(attempt, "preempted") == reason
    assert stop_asked_for(attempt, "hold") is None, "a later request replaces the former one"
