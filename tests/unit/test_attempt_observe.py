"""What is seen of an attempt whose shim or job lives, has ended or never began; and what its shim does alone."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.attempt import shim
from core.attempt.launch import JOB_MARK, START_FILE, job_mark, withdraw
from core.attempt.launcher import Observation
from core.attempt.local import LocalLauncher
from core.attempt.observe import job_process, observe
from core.files import write_json
from core.home import AttemptDir, Home
from core.process.identity import current_boot_id, find_by_environment
from core.process.locks import held
from tests.support.attempts import begin_attempt
from tests.support.running import SLEEP, identity, running
from tests.support.waiting import wait_until

pytestmark = pytest.mark.process


@pytest.fixture
def attempt(tmp_path: Path) -> AttemptDir:
    return begin_attempt(Home(tmp_path / "home").create())


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


def test_the_copy_of_a_run_folder_sends_no_signal_to_the_job_of_the_original(
    attempt: AttemptDir, tmp_path: Path
) -> None:
    attempt.log.touch()
    attempt.shim_lock.touch()
    with running(SLEEP) as process:
        write_json(attempt.run_json, {"job": identity(process).to_json(), "place": attempt.place})
        copied = AttemptDir(Path(shutil.copytree(attempt.path, tmp_path / "copy" / attempt.path.name)))
        assert now(attempt) == Observation("orphaned")
        assert now(copied) == Observation("gone")
        launcher = LocalLauncher(Home(tmp_path / "home"), None)
        assert not launcher.signal(copied, signal.SIGTERM, "tester")
        assert not launcher.owns(copied, process.pid) and launcher.owns(attempt, process.pid)
        assert process.poll() is None
        moved = AttemptDir(attempt.path.rename(tmp_path / "moved"))
        assert now(moved) == Observation("orphaned")
        assert launcher.signal(moved, signal.SIGTERM, "tester")
        process.wait()
