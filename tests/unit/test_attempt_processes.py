"""Which process it is, who holds a lock, and which signals are sent: with real processes, quickly."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from core.attempt import shim
from core.attempt.launch import JOB_MARK, START_FILE, job_mark, withdraw
from core.attempt.launcher import Observation
from core.attempt.local import LocalLauncher
from core.attempt.observe import job_process, observe
from core.attempt.stopping import StopEscalation, ask_to_stop, stop_asked_for
from core.files import append_line, write_json
from core.gpu_lease.lock import acquire, holder, lease_path
from core.home import AttemptDir, Home
from core.process.identity import ProcessIdentity, current_boot_id, find_by_environment, start_ticks
from core.process.locks import held
from core.reasons import Reason
from tests.support.clock import FakeClock
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]
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


@contextlib.contextmanager
def running(command: list[str], **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, process_group=0, env={**os.environ, **environment}
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def attempt(tmp_path: Path) -> AttemptDir:
    made = Home(tmp_path / "home").create().run_dir(7).attempt(1)
    made.path.mkdir(parents=True)
    return made


def identity(process: subprocess.Popen[str]) -> ProcessIdentity:
    found = ProcessIdentity.of(process.pid)
    assert found is not None
    return found


# Identity.


def test_a_process_is_itself_until_it_ends() -> None:
    with running(SLEEP) as process:
        known = identity(process)
        assert known.alive()
        assert ProcessIdentity.from_json(known.to_json()) == known
        process.kill()
        wait_until(lambda: not known.alive(), what="its end, although nobody has reaped it yet")
        assert process.returncode is None
        assert ProcessIdentity.of(process.pid) is None
    assert not known.alive()


@pytest.mark.parametrize(
    "other",
    [
        pytest.param({"start_ticks": 5}, id="the pid was given out again"),
        pytest.param({"boot_id": "former boot"}, id="the machine restarted"),
    ],
)
def test_the_same_pid_can_be_another_process_and_is_not_signalled(other: dict[str, object]) -> None:
    with running(SLEEP) as process:
        known = ProcessIdentity.from_json({**identity(process).to_json(), **other})
        assert known is not None
        assert not known.alive()
        assert not known.signal_group(signal.SIGKILL)
        assert process.poll() is None


def test_a_name_with_parentheses_and_spaces_does_not_confuse(tmp_path: Path) -> None:
    program = tmp_path / "a ) R 1 (b"
    program.symlink_to("/bin/sleep")
    with running([str(program), "600"]) as process:
        wait_until(lambda: ") R 1 (" in Path(f"/proc/{process.pid}/stat").read_text(), what="its name")
        fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        assert start_ticks(process.pid) == int(fields[19])


def test_a_signal_reaches_the_whole_group() -> None:
    family = "import subprocess, sys; p = subprocess.Popen(['sleep', '600']); print(p.pid, flush=True); p.wait()"
    with running([sys.executable, "-c", family]) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        assert identity(process).signal_group(signal.SIGTERM)
        wait_until(lambda: start_ticks(child) is None, what="the child's end")


def test_a_boot_is_told_by_the_kernel_or_for_tests_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BAKEHOUSE_BOOT_ID", raising=False)
    assert current_boot_id() == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    monkeypatch.setenv("BAKEHOUSE_BOOT_ID", "another")
    assert current_boot_id() == "another"


# Observing an attempt.


def now(attempt: AttemptDir) -> Observation:
    return observe(attempt, current_boot_id(), current_boot_id())


@contextlib.contextmanager
def shim_lives(attempt: AttemptDir) -> Iterator[None]:
    with attempt.shim_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def test_an_attempt_lives_while_its_shim_holds_the_lock(attempt: AttemptDir) -> None:
    with shim_lives(attempt):
        assert now(attempt) == Observation("alive")


def test_without_its_shim_a_living_job_is_orphaned_and_a_dead_one_gone(attempt: AttemptDir) -> None:
    attempt.log.touch()
    with running(SLEEP) as process:
        write_json(attempt.run_json, {"job": identity(process).to_json(), "shim": None})
        assert now(attempt) == Observation("orphaned")
    assert now(attempt) == Observation("gone")


def test_a_job_is_found_although_its_shim_died_before_it_wrote_down_which_it_is(attempt: AttemptDir) -> None:
    attempt.log.touch()
    with running(SLEEP, **{JOB_MARK: job_mark(attempt)}) as process:
        found = wait_until(lambda: job_process(attempt), what="the process with the mark")
        assert found == identity(process)
        assert now(attempt) == Observation("orphaned")
        other = attempt.path.parent / "attempt-2"
        assert find_by_environment(JOB_MARK, job_mark(AttemptDir(other))) is None
    assert now(attempt) == Observation("gone")


def test_a_written_exit_is_believed_whatever_else_there_is(attempt: AttemptDir) -> None:
    write_json(attempt.exit_json, {"exit_code": None, "signal": 9})
    with shim_lives(attempt):
        assert now(attempt) == Observation("ended", None, 9)


def test_another_boot_ends_everything_that_has_not_ended(attempt: AttemptDir) -> None:
    with shim_lives(attempt), running(SLEEP) as process:
        write_json(attempt.run_json, {"job": identity(process).to_json(), "shim": None})
        assert observe(attempt, "former boot", current_boot_id()) == Observation("restarted")


@pytest.mark.parametrize(
    ("exit_code", "number", "condition"),
    [
        (75, None, "restarted"),
        (143, None, "restarted"),
        (None, signal.SIGTERM, "restarted"),
        (None, signal.SIGKILL, "ended"),
        (1, None, "ended"),
        (0, None, "ended"),
    ],
)
def test_an_end_that_a_shutdown_brings_about_belongs_to_the_restart(
    attempt: AttemptDir, exit_code: int | None, number: int | None, condition: str
) -> None:
    write_json(attempt.exit_json, {"exit_code": exit_code, "signal": number})
    assert observe(attempt, "former boot", current_boot_id()).condition == condition
    assert now(attempt).condition == "ended"


def test_an_attempt_that_left_no_trace_is_withdrawn_so_that_no_late_shim_begins_it(attempt: AttemptDir) -> None:
    (attempt.path / START_FILE).write_text("{}")
    assert now(attempt) == Observation("never_started")
    assert not (attempt.path / START_FILE).exists()
    late = subprocess.run(
        [sys.executable, "-m", "core.attempt.shim", str(attempt.path)], capture_output=True, text=True, check=False
    )
    assert late.returncode == 1
    assert "withdrawn" in late.stderr
    assert not attempt.log.exists()


def test_an_attempt_that_has_begun_cannot_be_withdrawn(attempt: AttemptDir) -> None:
    with shim_lives(attempt):
        assert not withdraw(attempt)
    attempt.log.touch()
    assert not withdraw(attempt)


# Escalation of a stop.

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


# The GPU's lock.


def test_a_lease_is_one_at_a_time_and_says_who_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAKEHOUSE_LEASE_DIR", str(tmp_path))
    home = Home(tmp_path / "home")
    path = lease_path(home, "0000:2b:00.0")
    assert path == tmp_path / "bakehouse-0000:2b:00.0"
    assert holder(path) is None
    lease = acquire(path)
    assert lease is not None
    assert acquire(path) is None
    assert holder(path) == {}
    lease.note_holder(home, 12)
    said = holder(path)
    assert said is not None
    assert (said["home"], said["job"]) == (str(home.root), 12)
    lease.release()
    assert holder(path) is None


def test_the_cpu_s_lock_lies_in_the_home(tmp_path: Path) -> None:
    assert lease_path(Home(tmp_path), None) == tmp_path / "cpu.lock"


def test_other_users_of_the_machine_can_take_the_gpu_s_lock(tmp_path: Path) -> None:
    former = os.umask(0o077)
    try:
        lease = acquire(tmp_path / "bakehouse-card")
    finally:
        os.umask(former)
    assert lease is not None
    assert (tmp_path / "bakehouse-card").stat().st_mode & 0o777 == 0o666


def test_a_lease_lasts_as_long_as_a_process_that_inherited_it(tmp_path: Path) -> None:
    path = tmp_path / "bakehouse-card"
    lease = acquire(path)
    assert lease is not None
    heir = subprocess.Popen(["sleep", "600"], pass_fds=[lease.descriptor])
    stranger = subprocess.Popen(["sleep", "600"])
    try:
        lease.release()
        assert acquire(path) is None
        heir.kill()
        heir.wait()
        after = acquire(path)
        assert after is not None, "a process that did not inherit it does not hold it"
        after.release()
    finally:
        for process in (heir, stranger):
            process.kill()
            process.wait()


# The shim.


def test_a_shim_outlives_that_no_runner_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home").create()
    home.runner_log.mkdir()  # so that opening it fails, as on a full or broken disk
    monkeypatch.setenv("BAKEHOUSE_RUNNER_MISSING_SECONDS", "0.01")
    job = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.3); raise SystemExit(4)"])
    usage = shim.wait(job, home)
    assert job.returncode == 4
    assert usage["peak_host_bytes"] > 1_000_000


def test_a_shim_starts_no_runner_that_a_person_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home").create()
    home.runner_stopped.touch()
    monkeypatch.setenv("BAKEHOUSE_RUNNER_MISSING_SECONDS", "0.01")
    shim.wait(subprocess.Popen(["true"]), home)
    shim.see_to_a_runner(home)
    assert not home.runner_log.exists()
    assert not held(home.runner_lock)


def test_two_shims_never_share_an_attempt(attempt: AttemptDir) -> None:
    (attempt.path / START_FILE).write_text("{}")
    with shim_lives(attempt):
        second = subprocess.run(
            [sys.executable, "-m", "core.attempt.shim", str(attempt.path)], capture_output=True, text=True, check=False
        )
    assert second.returncode == 1
    assert "another shim has this attempt" in second.stderr
