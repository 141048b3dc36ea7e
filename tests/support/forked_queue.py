"""A queue that works in the test's own process: what the runner does each round, with jobs that are forked.

Which job may start, what its end means and what is imported of it are decided by the runner's own `Starter` and `Watch`. A
runner that dies is played by `new_runner`: all that it knew is gone, what is in the database and in files stays.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Mapping

from core.attempt.launch import job_mark
from core.attempt.launcher import Activity, Observation
from core.config.settings import Settings
from core.gpu_lease.lock import Lease
from core.home import AttemptDir, Home
from core.runner.commands import carry_out
from core.runner.reconcile import Watch
from core.runner.starter import Starter
from core.store.commands import open_commands
from core.store.database import open_database
from tests.support.forked import CHECKOUT, Forked, Started
from tests.support.held_job import Hold
from tests.support.workshop import DEADLINE_SECONDS, events


class ForkedLauncher:
    """A `Launcher` whose attempts are forked. They outlive whoever asks, as those under a shim do."""

    name = "local"

    def __init__(self, home: Home) -> None:
        self.home = home
        self.processes: dict[AttemptDir, Forked] = {}
        self.holds: dict[int, Hold] = {}
        """Where the first attempt of a job stands still, by job."""
        self.restarted: set[AttemptDir] = set()

    def warning(self) -> str | None:
        return None

    def start(self, attempt: AttemptDir, python: str, lease: Lease | None, remedies: Mapping[str, str]) -> str:
        attempt.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        own = {"BAKEHOUSE_HOME": str(self.home.root), "BAKEHOUSE_ATTEMPT": str(attempt.number), "OMP_NUM_THREADS": "1"}
        env = {**os.environ, **own, "BAKEHOUSE_JOB": job_mark(attempt), "PYTHONPATH": str(CHECKOUT)}
        descriptors = () if lease is None else (lease.descriptor,)
        hold = self.holds.get(int(attempt.path.parent.name)) if attempt.number == 1 else None
        self.processes[attempt] = Forked(
            Started(attempt.path.parent, attempt.log, env, pass_fds=descriptors, hold=hold)
        )
        return "session"

    def observe(self, attempt: AttemptDir, boot_id: str) -> Observation:
        process = self.processes.get(attempt)
        if process is None:
            return Observation("never_started")
        code = process.poll()
        if code is None:
            return Observation("alive")
        if attempt in self.restarted:
            return Observation("restarted")
        return Observation("ended", None, -code) if code < 0 else Observation("ended", code)

    def activity(self, attempt: AttemptDir) -> Activity | None:
        return None

    def owns(self, attempt: AttemptDir, pid: int) -> bool:
        process = self.processes.get(attempt)
        return process is not None and process.pid == pid

    def signal(self, attempt: AttemptDir, number: signal.Signals, by: str) -> bool:
        process = self.processes.get(attempt)
        if process is None or process.poll() is not None:
            return False
        process.send_signal(number)
        return True

    def close(self) -> None:
        """End what a test that failed has left running."""
        for process in self.processes.values():
            process.send_signal(signal.SIGKILL)


class ForkedQueue:
    """The queue of a home."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self.launcher = ForkedLauncher(home)
        self.connection: sqlite3.Connection | None = None
        self.new_runner()

    def new_runner(self) -> None:
        """The runner is gone, wherever it was, and another one comes."""
        if self.connection is not None:
            self.connection.close()
        self.connection = open_database(self.home)
        self.starter = Starter(
            self.home,
            self.connection,
            Settings(),
            self.launcher,
            lambda job, why, reason: None,
            gpu=None,
            keeper=None,
        )
        self.watch = Watch(self.home, self.connection, self.launcher)

    def kill(self, job_id: int) -> None:
        """Kill the process of a job, once it stands where it was to be held."""
        ((attempt, process),) = [one for one in self.living() if one[0].path.parent.name == str(job_id)]
        process.send_signal(signal.SIGKILL)
        process.wait(DEADLINE_SECONDS)
        assert attempt.number == 1

    def restart_machine(self) -> None:
        """All processes are gone, and a new runner finds that the machine was restarted since they began."""
        for attempt, process in self.living():
            process.send_signal(signal.SIGKILL)
            process.wait(DEADLINE_SECONDS)
            self.launcher.restarted.add(attempt)
        self.new_runner()

    def held(self, job_id: int) -> bool:
        """Whether a job's first attempt stands where it was to be held."""
        hold, run = self.launcher.holds[job_id], self.home.run_dir(job_id)
        return run.attempt(1).events.exists() and any(
            hold.holds(one[hold.field]) for one in events(run, 1, hold.kind) if hold.field in one
        )

    def round(self) -> bool:
        """What a runner does in one round; whether anything is left that goes on by itself."""
        assert self.connection is not None
        for command in open_commands(self.connection):
            carry_out(self.home, self.connection, command)
        living = self.watch.tick()
        return self.starter.start_what_may() or living > 0

    def run(self, until: Callable[[], bool] = lambda: False) -> None:
        """Work until nothing goes on by itself, or until something is so."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while self.round() and not until():
            assert time.monotonic() < deadline, "the queue took too long"
            time.sleep(0.01)

    def living(self) -> list[tuple[AttemptDir, Forked]]:
        return [(attempt, process) for attempt, process in self.launcher.processes.items() if process.poll() is None]

    def close(self) -> None:
        self.launcher.close()
        if self.connection is not None:
            self.connection.close()
