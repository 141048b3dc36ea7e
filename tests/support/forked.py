"""Jobs in processes forked from one that has imported torch and the libraries: real processes that start in a moment.

They have a pid, a log and limits of their own, are killed by signals, and start themselves again with a fresh interpreter, as
those that a shim starts. Only what happens before a job's first line is not theirs: whole paths start `python -m jobs` itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

from tests.support.held_job import Hold

CHECKOUT = Path(__file__).parents[2]
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.support.preloaded"])


@dataclass(frozen=True)
class Started:
    """How a job is started: its run directory, log and environment, and what the kernel and the test hold it to."""

    run: Path
    log: Path
    env: dict[str, str]
    memory_bytes: int | None = None
    pass_fds: tuple[int, ...] = ()
    hold: Hold | None = None
    before: Callable[[], None] | None = None
    """Called in a forked job's process before the job's first line; a job that starts itself again does without."""

    @property
    def words(self) -> list[str]:
        """The command line."""
        if self.hold is None:
            return [sys.executable, "-P", "-m", "jobs", str(self.run)]
        return [sys.executable, "-P", "-m", "tests.support.held_job", str(self.run), *self.hold.words]

    def limit(self) -> None:
        """Called in the job's process before its first line: the kernel refuses it more than `memory_bytes` of its own."""
        if self.memory_bytes is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (self.memory_bytes, self.memory_bytes))

    def interpreter(self) -> subprocess.Popen[bytes]:
        """The job in an interpreter of its own."""
        with self.log.open("wb") as file:
            return subprocess.Popen(
                self.words,
                cwd=self.run,
                env=self.env,
                stdout=file,
                stderr=file,
                pass_fds=self.pass_fds,
                preexec_fn=self.limit,
            )


class Forked:
    """A forked job, with as much of `subprocess.Popen` as the tests use. A negative return code is a signal's number."""

    def __init__(self, started: Started) -> None:
        with contextlib.chdir(CHECKOUT):  # where it finds what it imports beforehand
            forkserver.ensure_running()
        self._process = CONTEXT.Process(target=_job, args=(started, _Descriptors(started.pass_fds)))
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    def poll(self) -> int | None:
        return self._process.exitcode

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            raise TimeoutError(f"process {self.pid} has not ended within {timeout} s")
        return code

    def send_signal(self, number: signal.Signals) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)


class _Descriptors:
    """Descriptors that the new process is to have as well. They are duplicated while it is started."""

    def __init__(self, numbers: tuple[int, ...]) -> None:
        self._numbers = numbers

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, tuple(DupFd(number) for number in self._numbers)


def _received(*sent: Any) -> list[int]:
    return [item.detach() for item in sent]


def _job(started: Started, descriptors: list[int]) -> None:
    """What `started.words` are, from here on."""
    from jobs.__main__ import main

    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    with started.log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(started.run)
    os.environ.clear()
    os.environ.update(started.env)
    started.limit()
    # By these words a job that starts itself again is started.
    sys.orig_argv = started.words
    if started.hold is not None:
        started.hold.install()
    if started.before is not None:
        started.before()
    sys.exit(main([str(started.run)]))
