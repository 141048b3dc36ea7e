"""A home with a real runner, real shims and stand-in jobs."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from core.attempt.observe import job_process, locked
from core.config.project import Project, shipped
from core.home import AttemptDir, Home
from core.process.identity import start_ticks
from core.reasons import Reason, Value
from core.runner import client as requests
from core.runner.client import ensure_runner
from core.runner.status import runner_status
from core.store.attempts import AttemptRow, list_attempts
from core.store.database import open_database
from core.store.jobs import ENDED, JobRow, Lane, Transition, get_job, history
from core.submission.enqueue import store
from tests.support.standin_kind import StandinSpec
from tests.support.waiting import PATIENCE_SECONDS, wait_until

# A person is told after ten seconds that no runner answers. Whether one does in time is not what these tests ask.
requests.ANSWER_SECONDS = PATIENCE_SECONDS
GO_ON = "go-on"
STANDIN = Path(__file__).with_name("standin_job.py")
CHECKOUT = Path(__file__).parents[2]
AUTHOR = "tester"


def alive(pid: int) -> bool:
    return start_ticks(pid) is not None


def kill(pid: int) -> None:
    """SIGKILL, and wait until the process is gone."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not alive(pid), what=f"the end of {pid}")


def standin_python(folder: Path) -> Path:
    """An "interpreter" for jobs: a script that runs the stand-in instead of what it is told to run."""
    python = folder / "standin-python"
    if not python.exists():
        python.write_text(f'#!/bin/sh\nPYTHONPATH="{CHECKOUT}" exec "{sys.executable}" -P "{STANDIN}" "$@"\n')
        python.chmod(python.stat().st_mode | stat.S_IXUSR)
    return python


@dataclass
class Queue:
    """Drives a home as a person would, and kills what it must."""

    home: Home
    python: str
    project: Project

    @classmethod
    def create(cls, folder: Path, name: str = "home") -> Queue:
        """A fresh home whose jobs are stand-ins."""
        return cls(Home(folder / name).create(), str(standin_python(folder)), shipped())

    # What a person does.

    def submit(
        self,
        title: str,
        lane: Lane = "gpu",
        needs: tuple[int, ...] = (),
        *,
        on_restart: str = "requeue",
        device_bytes: int | None = None,
        needs_ended: tuple[int, ...] = (),
    ) -> int:
        """A stand-in job; `title` says what it does, `device_bytes` what it is expected to take of the GPU."""
        settings = self.project.settings
        queue = settings.queue.model_copy(update={"on_restart": on_restart})
        jobs = settings.jobs.model_copy(update={"python": self.python})
        project = replace(self.project, settings=settings.model_copy(update={"queue": queue, "jobs": jobs}))
        spec = StandinSpec.in_lane(lane, title, device_bytes, needs_ended)
        return store(self.home, project, spec, needs=needs, author=AUTHOR).id

    def ask(self, kind: str, job_id: int | None = None, **arguments: object) -> None:
        requests.request(self.home, kind, job_id, arguments, by=AUTHOR)

    def start_runner(self) -> None:
        ensure_runner(self.home)

    def go_on(self, job_id: int) -> None:
        """Let a stand-in go on that waits before one of its steps (`waits=N` in its title), now and in later attempts."""
        (self.home.run_dir(job_id).path / GO_ON).touch()

    # What stands in the database.

    @contextlib.contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        with contextlib.closing(open_database(self.home)) as connection:
            yield connection

    def job(self, job_id: int) -> JobRow:
        with self.database() as connection:
            return get_job(connection, job_id)

    def history(self, job_id: int) -> list[Transition]:
        with self.database() as connection:
            return history(connection, job_id)

    def states(self, job_id: int) -> list[str]:
        """Every state the job has been in, in order."""
        return [transition.to_state for transition in self.history(job_id)]

    def attempts(self, job_id: int) -> list[AttemptRow]:
        with self.database() as connection:
            return list_attempts(connection, job_id)

    def seen(self, job_id: int) -> list[int]:
        """The steps that a stand-in counted, over all its attempts."""
        result = self.job(job_id).result
        assert result is not None, self.job(job_id)
        return list(result["summary"]["seen"])

    # Waiting.

    def wait_for(self, job_id: int, *states: str) -> JobRow:
        """Wait until a job is in one of these states; in any that is an end, when none is named."""
        wanted = set(states) or set(ENDED)

        def found() -> JobRow | None:
            job = self.job(job_id)
            return job if job.state in wanted else None

        job = wait_until(found, what=lambda: f"job {job_id} in {wanted}: {self.job(job_id)}")
        assert job is not None
        return job

    def wait_for_step(self, job_id: int, step: int, seconds: float = PATIENCE_SECONDS) -> None:
        def reached() -> bool:
            progress = self.job(job_id).progress
            return progress is not None and (progress.done or 0) >= step

        wait_until(reached, seconds, lambda: f"step {step}: {self.job(job_id)}")

    def wait_for_reason(self, job_id: int, code: str, **values: Value) -> Reason:
        """Wait until a job has a reason with this code and, where they are given, these values."""

        def found() -> Reason | None:
            reason = self.job(job_id).reason
            fits = reason.code == code and all(reason.values.get(name) == value for name, value in values.items())
            return reason if fits else None

        reason = wait_until(found, what=lambda: f"{code} {values}: {self.job(job_id)}")
        assert reason is not None
        return reason

    def wait_for_lease(self, job_id: int, why: str) -> Reason:
        """Wait until a job waits for the GPU for a reason of the lease with this code, and return it."""

        def found() -> Reason | None:
            reason = self.job(job_id).reason
            return reason if reason.code == "gpu_lease" and reason.values.get("why") == why else None

        return wait_until(found, what=lambda: f"`{why}`: {self.job(job_id)}") or Reason(why)

    def wait_for_checkpoint(self, job_id: int) -> int:
        """The step of the job's newest checkpoint, once there is one."""
        file = self.home.run_dir(job_id).checkpoints / "count.json"
        wait_until(file.exists, what="a checkpoint")
        return int(json.loads(file.read_bytes())["step"])

    # Processes.

    def attempt(self, job_id: int) -> AttemptDir:
        return self.home.run_dir(job_id).attempt(self.job(job_id).attempt)

    def runner_pid(self) -> int:
        return wait_until(lambda: runner_status(self.home).pid, what="a runner") or 0

    def runner_alive(self) -> bool:
        return runner_status(self.home).alive

    def kill_runner(self) -> int:
        """SIGKILL of the runner; returns the pid that it had."""
        pid = self.runner_pid()
        kill(pid)
        # Its threads can outlive its main one by a moment, and with them the lock.
        wait_until(lambda: not runner_status(self.home).alive or runner_status(self.home).pid, what="the runner's end")
        return pid

    def process(self, job_id: int) -> int:
        return wait_until(lambda: job_process(self.attempt(job_id)), what="the job's process").pid

    def shim_pid(self, job_id: int) -> int:
        wait_until(lambda: self.attempt(job_id).run_json.exists(), what="run.json")
        return int(json.loads(self.attempt(job_id).run_json.read_bytes())["shim"]["pid"])

    def close(self) -> None:
        """End what this test started: first the runner, that it starts nothing more, then each job until no shim is left."""
        self.home.runner_stopped.touch()
        status = runner_status(self.home)
        if status.pid is not None and status.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(status.pid, signal.SIGKILL)
        wait_until(lambda: not runner_status(self.home).alive, what="the runner's end")
        wait_until(self._no_job_lives, what="the jobs' ends")

    def _no_job_lives(self) -> bool:
        """Kill the jobs by their recorded identity; a shim that has only just begun is met at the next look."""
        living = False
        for folder in self.home.runs.glob("*/attempt-*"):
            attempt = AttemptDir(folder)
            process = job_process(attempt)
            killed = process is not None and process.signal_group(signal.SIGKILL)
            living = living or killed or locked(attempt)
        return not living
