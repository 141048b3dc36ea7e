"""A home with a real runner, real shims and stand-in jobs."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from core.config.model import ModelEntry
from core.config.project import Project, shipped
from core.home import AttemptDir, Home
from core.queue.observe import job_process
from core.queue.request import ensure_runner, request
from core.queue.runner import runner_status
from core.queue.spec import PullSpec
from core.queue.submit import store
from core.store.database import open_database
from core.store.jobs import ENDED, JobRow, get_job, history

STANDIN = Path(__file__).with_name("standin_job.py")
CHECKOUT = Path(__file__).parents[2]
AUTHOR = "tester"


def wait_until(condition: Callable[[], object], seconds: float = 20.0, what: str = "") -> object:
    """Poll until something is true; fails with what was waited for."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.03)
    raise AssertionError(f"not within {seconds} s: {what or condition}")


@dataclass
class Queue:
    """Drives a home as a person would, and kills what it must."""

    home: Home
    python: str
    project: Project

    @classmethod
    def create(cls, folder: Path) -> Queue:
        """A fresh home whose jobs are stand-ins: their "interpreter" is a script that runs the stand-in instead."""
        python = folder / "standin-python"
        python.write_text(f'#!/bin/sh\nPYTHONPATH="{CHECKOUT}" exec "{sys.executable}" -P "{STANDIN}" "$@"\n')
        python.chmod(python.stat().st_mode | stat.S_IXUSR)
        return cls(Home(folder / "home").create(), str(python), shipped())

    def submit(self, title: str, lane: str = "card", needs: tuple[int, ...] = ()) -> int:
        model = ModelEntry(name="none", path="/nonexistent")
        return store(
            self.home,
            self.project,
            PullSpec(model=model),
            title=title,
            python=self.python,
            models=[],
            lane=lane,  # type: ignore[arg-type]
            needs=needs,
            author=AUTHOR,
        ).id

    def job(self, job_id: int) -> JobRow:
        connection = open_database(self.home)
        with contextlib.closing(connection):
            return get_job(connection, job_id)

    def states(self, job_id: int) -> list[str]:
        """Every state the job has been in, in order."""
        connection = open_database(self.home)
        with contextlib.closing(connection):
            return [transition.to_state for transition in history(connection, job_id)]

    def ask(self, kind: str, job_id: int | None = None, **arguments: object) -> None:
        request(self.home, kind, job_id, arguments, by=AUTHOR)  # type: ignore[arg-type]

    def wait_for(self, job_id: int, *states: str, seconds: float = 20.0) -> JobRow:
        wanted = set(states) or set(ENDED)
        wait_until(
            lambda: self.job(job_id).state in wanted, seconds, f"job {job_id} in {wanted}, is {self.job(job_id)}"
        )
        return self.job(job_id)

    def wait_for_step(self, job_id: int, step: int, seconds: float = 20.0) -> None:
        def reached() -> bool:
            progress = self.job(job_id).progress
            return progress is not None and (progress.done or 0) >= step

        wait_until(reached, seconds, f"step {step} of job {job_id}")

    def attempt(self, job_id: int) -> AttemptDir:
        return self.home.run_dir(job_id).attempt(self.job(job_id).attempt)

    def runner_pid(self) -> int:
        return int(wait_until(lambda: runner_status(self.home).pid, what="a runner"))  # type: ignore[call-overload]

    def kill_runner(self) -> None:
        pid = self.runner_pid()
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), what="the runner's end")

    def start_runner(self) -> None:
        ensure_runner(self.home)

    def process(self, job_id: int) -> int:
        process = wait_until(lambda: job_process(self.attempt(job_id)), what="the job's process")
        return process.pid  # type: ignore[attr-defined]

    def shim_pid(self, job_id: int) -> int:
        import json

        wait_until(lambda: self.attempt(job_id).run_json.exists(), what="run.json")
        return int(json.loads(self.attempt(job_id).run_json.read_bytes())["shim"]["pid"])

    def close(self) -> None:
        """End what this test started: jobs by their recorded identity, then the runner."""
        self.home.runner_stopped.touch()
        for folder in self.home.runs.glob("*/attempt-*"):
            process = job_process(AttemptDir(folder))
            if process is not None:
                process.signal_group(signal.SIGKILL)
        status = runner_status(self.home)
        if status.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(status.pid, signal.SIGTERM)
            wait_until(lambda: not runner_status(self.home).alive, what="the runner's end")
