"""A home in which a test runs jobs as the shim does: run directories, processes, and what they left."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from core.config.golden import GoldenInput
from core.config.model import ModelEntry
from core.files import read_lines
from core.home import Home, RunDir
from core.jobfile.spec import InputFile, Spec
from tests.support.forked import CHECKOUT, Forked, Started
from tests.support.greetings import GREETINGS
from tests.support.held_job import Hold
from tests.support.job_files import job_file

# No test waits so long for anything: what is waited for has come, or its process has ended, long before on any machine.
DEADLINE_SECONDS = 1200.0
Process = subprocess.Popen[bytes] | Forked


@dataclass
class Workshop:
    """A home of its own, a base model, and jobs in processes of their own.

    `forked`: a job's process is forked from one that has imported the libraries already; else it is a fresh interpreter.
    `threads` to compute with; None leaves that to the job.
    """

    home: Home
    model: ModelEntry
    forked: bool = False
    threads: int | None = None
    processes: list[Process] = field(default_factory=list)

    def submit(self, job_id: int, spec: Spec) -> RunDir:
        run = self.home.run_dir(job_id)
        run.path.mkdir(parents=True)
        job_file(self.home, spec, job_id, project_root=str(CHECKOUT), submitted_at=time.time()).save(run)
        return run

    def start(
        self,
        run: RunDir,
        attempt: int = 1,
        *,
        hold: Hold | None = None,
        before: Callable[[], None] | None = None,
        memory_bytes: int | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> Process:
        """Start a job. It stands still where `hold` says; the kernel refuses it more than `memory_bytes` of its own memory.

        A forked job calls `before` first.
        """
        folder = run.attempt(attempt)
        folder.path.mkdir()
        env = {**os.environ, "BAKEHOUSE_ATTEMPT": str(attempt), "PYTHONPATH": str(CHECKOUT)}
        if self.threads is not None:
            env["OMP_NUM_THREADS"] = str(self.threads)
        started = Started(run.path, folder.log, env, memory_bytes, pass_fds, hold, before)
        process: Process = Forked(started) if self.forked else started.interpreter()
        self.processes.append(process)
        return process

    def finish(self, run: RunDir, attempt: int = 1) -> int:
        """Run a job to its end; its exit code."""
        return self.ended(self.start(run, attempt))

    def ended(self, process: Process) -> int:
        """Wait for the end of a job's process; its exit code."""
        return process.wait(DEADLINE_SECONDS)

    def close(self) -> None:
        """End what a test that failed has left running."""
        for process in self.processes:
            process.send_signal(signal.SIGKILL)

    def input_file(self, name: str, text: str) -> InputFile:
        path = self.home.inputs / name
        path.write_text(text)
        return InputFile(path=str(path), sha256=hashlib.sha256(text.encode()).hexdigest(), source=f"/project/{name}")

    def greetings(self, count: int = 8) -> InputFile:
        lines = [json.dumps({"prompt": name, "completion": text}) for name, text in GREETINGS[:count]]
        return self.input_file("greet.jsonl", "\n".join(lines) + "\n")

    def golden(self, *texts: str) -> InputFile:
        items = [GoldenInput(id=f"g{number}", input=text) for number, text in enumerate(texts, start=1)]
        return self.input_file("golden.json", json.dumps([item.model_dump(mode="json") for item in items]))


def events(run: RunDir, attempt: int, kind: str) -> list[dict[str, Any]]:
    return [event for event, _ in read_lines(run.attempt(attempt).events) if event["kind"] == kind]


def losses(run: RunDir, attempts: int) -> dict[int, Any]:
    """Loss, gradient norm and learning rate by step; a later attempt wins."""
    return {
        event["step"]: (event["loss"], event["grad_norm"], event["lr"])
        for attempt in range(1, attempts + 1)
        for event in events(run, attempt, "step")
    }


def wait_until(condition: Callable[[], bool], process: Process) -> None:
    """Wait for something a running job does; fail as soon as it has ended without."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        ended = process.poll()  # looked at before the condition: what it did last counts
        if condition():
            return
        assert ended is None, f"the job ended with {ended} before"
        assert time.monotonic() < deadline, "the job took too long"
        time.sleep(0.01)
