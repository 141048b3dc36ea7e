"""Where a forked job stands still, so that it can be killed there: right before it does something to a file.

The process stops itself (SIGSTOP) behind an event of Python's own auditing, before what that announces is done: between the
writing of a file and its renaming, say, however fast the machine is.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

import psutil

from core.home import RunDir
from tests.support.held_job import Hold
from tests.support.waiting import wait_until as wait_for
from tests.support.workshop import Process, Workshop, events, wait_until


@dataclass(frozen=True)
class Standstill:
    """Before which event (https://docs.python.org/3/library/audit_events.html) of which path; none: it only gets a group."""

    event: str = ""
    path: str = ""

    def __call__(self) -> None:
        """In the job's process: a process group of its own, as a shim gives it, and a stop at the event."""
        os.setpgid(0, 0)
        sys.addaudithook(self._look)

    def _look(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == self.event and fnmatch(str(arguments[0]), self.path):
            os.kill(os.getpid(), signal.SIGSTOP)


BEFORE_RESULT = Standstill("open", "*/.result.json.*")
BEFORE_RESULT_COUNTS = Standstill("os.rename", "*/.result.json.*")


def stands_still(process: Process) -> bool:
    """Whether the job, or a program that it started, has stopped itself."""
    with contextlib.suppress(psutil.Error):
        job = psutil.Process(process.pid)
        return any(one.status() == psutil.STATUS_STOPPED for one in (job, *job.children(recursive=True)))
    return False


def kill_group(shop: Workshop, process: Process, number: int | None = None) -> None:
    """Kill the job and all that it started, or with `number` that process alone; wait until all are gone."""
    all_of_it = psutil.Process(process.pid).children(recursive=True)
    if number is None:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        os.kill(number, signal.SIGKILL)
    shop.ended(process)
    wait_for(lambda: not any(_lives(one) for one in all_of_it), what="its programs gone")


def start_until(shop: Workshop, run: RunDir, attempt: int, point: Standstill | Hold) -> Process:
    """Start an attempt, and return once it stands still at the point."""
    hold = point if isinstance(point, Hold) else None
    process = shop.start(run, attempt, hold=hold, before=point if isinstance(point, Standstill) else Standstill())
    if hold is None:
        wait_until(lambda: stands_still(process), process)
    else:
        wait_until(lambda: any(hold.holds(one[hold.field]) for one in events(run, attempt, hold.kind)), process)
    return process


def _lives(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
