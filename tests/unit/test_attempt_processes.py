"""Which process it is, who holds a lock, and which signals are sent: with real processes, quickly."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.attempt import shim
from core.attempt.launch import JOB_MARK, START_FILE, job_mark, withdraw
from core.attempt.launcher import Observation
from core.attempt.local import LocalLauncher
from core.attempt.observe import job_process, observe
from core.attempt.stopping import StopEscalation, ask_to_stop
from core.files import write_json
from core.gpu_lease.lock import acquire, holder, lease_path
from core.home import AttemptDir, Home
from core.process.identity import ProcessIdentity, current_boot_id, find_by_environment, start_ticks
from core.process.locks import held
from tests.support.waiting import wait_until

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


# The ladder.

GRACE_SECONDS = 1000
"""Long beside all that a test does: the moments of these tests are made up, not waited for."""


def ladder_on(attempt: AttemptDir, process: subprocess.Popen[str]) -> StopEscalation:
    write_json(attempt.run_json, {"job": identity(process).to_json(), "shim": None})
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    return StopEscalation(LocalLauncher(Home(attempt.path), None), GRACE_SECONDS)


def test_the_ladder_gives_each_step_its_grace_and_sends_each_signal_once(attempt: AttemptDir) -> None:
    with running([sys.executable, "-c", NOTE_SIGNALS]) as process:
        ladder = ladder_on(attempt, process)
        assert process.stdout is not None
        asked = time.time()

        def press(graces: float, *, may_kill: bool = False) -> str | None:
            return ladder.press(attempt, asked - graces * GRACE_SECONDS, may_kill=may_kill)

        assert press(0) is None
        assert press(0.8) is None
        assert press(1) == "it did not stop in 1000 s: SIGINT sent"
        assert process.stdout.readline() == "SIGINT\n"
        assert press(1.8) is None, "no signal twice"
        assert press(2) == "it did not stop in 2000 s: SIGTERM sent"
        assert process.stdout.readline() == "SIGTERM\n"
        assert press(2.8) is None
        assert "`bakehouse queue kill`, is what is left" in (press(100) or ""), "with a GPU in hand it is the person's"
        assert press(100) is None, "said once"
        assert process.poll() is None
        assert press(100, may_kill=True) == "it did not stop in 3000 s: SIGKILL sent"
        assert process.wait() == -signal.SIGKILL


def test_a_runner_that_takes_over_goes_on_at_the_step_that_the_time_says(attempt: AttemptDir) -> None:
    with running([sys.executable, "-c", NOTE_SIGNALS]) as process:
        ladder_on(attempt, process)
        successor = StopEscalation(LocalLauncher(Home(attempt.path), None), GRACE_SECONDS)
        asked = time.time() - 2.5 * GRACE_SECONDS
        assert successor.press(attempt, asked, may_kill=True) == "it did not stop in 2000 s: SIGTERM sent"
        assert process.stdout is not None
        assert process.stdout.readline() == "SIGTERM\n"


def test_nothing_is_signalled_when_the_job_has_gone(attempt: AttemptDir) -> None:
    with running([sys.executable, "-c", NOTE_SIGNALS]) as process:
        ladder = ladder_on(attempt, process)
    assert ladder.press(attempt, time.time() - 1.5 * GRACE_SECONDS, may_kill=True) is None


def test_a_request_to_stop_says_why_and_can_be_left_before_the_attempt_has_a_folder(tmp_path: Path) -> None:
    from core.files import read_json

    attempt = Home(tmp_path).run_dir(1).attempt(1)
    ask_to_stop(attempt, "pause", "to be held")
    ask_to_stop(attempt, "room", "judge:v1 was loaded by a client")
    asked = read_json(attempt.stop_request)
    assert (asked["why"], asked["reason"]) == ("room", "judge:v1 was loaded by a client")


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
