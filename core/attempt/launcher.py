"""Who runs attempts: the one protocol between the runner and whatever starts processes for it.

A launcher starts an attempt, tells what has become of it, and signals it. `core.attempt.local` does so on this machine; another
one (a batch system, a container) is a module of its own and a line of `LAUNCHERS`. An attempt leaves the same files whoever
runs it: `events.jsonl`, `result.json`, `exit.json` (docs/architecture.md).
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Literal, Protocol, cast

from core.home import AttemptDir, Home

if TYPE_CHECKING:
    from core.gpu.devices import Gpu
    from core.gpu_lease.lock import Lease

STOPPED_AT_A_STEP = 75
"""Exit code of a job that stopped on request, with a checkpoint (EX_TEMPFAIL of sysexits.h: try again later)."""


@dataclass(frozen=True)
class Observation:
    """`ended` has an exit code or a signal; `gone` is an end that nobody saw; `never_started` left no trace of a process.

    `orphaned` lives on, but nobody will write down how it ends. `restarted` was ended by a restart of the machine.
    """

    condition: Literal["alive", "orphaned", "ended", "gone", "never_started", "restarted"]
    exit_code: int | None = None
    signal: int | None = None


@dataclass(frozen=True)
class Activity:
    """What the processes of an attempt do. `state` is the letter of `/proc/PID/stat` (`D` waits for a device), `cpu_seconds`
    the CPU time of them all so far."""

    state: str
    cpu_seconds: float


class Launcher(Protocol):
    """For one thread; `start` may take seconds, the others milliseconds."""

    @property
    def name(self) -> str:
        """The word under which `LAUNCHERS` and the attempt's row have it."""

    def warning(self) -> str | None:
        """What a person should know before a job is left to this launcher; None when nothing is amiss."""

    def start(self, attempt: AttemptDir, python: str, lease: Lease | None) -> str:
        """Start an attempt under this interpreter and return once it is certain that its end will be seen.

        The attempt holds the lease as long as it lives. Returns what keeps the attempt alive (`scope`, `session`, …). Raises
        `BakehouseError` when nothing was started.
        """

    def observe(self, attempt: AttemptDir, boot_id: str) -> Observation:
        """What an attempt that began under `boot_id` does now.

        `never_started` is a promise for the future as well: the attempt will not begin any more.
        """

    def activity(self, attempt: AttemptDir) -> Activity | None:
        """What its processes do; None when none lives, or nobody can tell."""

    def signal(self, attempt: AttemptDir, number: signal.Signals, by: str) -> bool:
        """Send a signal to all processes of an attempt and write it down; False when none of them lives."""


LAUNCHERS = {"local": "core.attempt.local:LocalLauncher"}
"""Where each launcher is. Imported when it is asked for: the console needs none of their code."""


def launcher(home: Home, gpu: Gpu | None = None, name: str = "local") -> Launcher:
    """The launcher of this name for the jobs of a home, which see no GPU but `gpu`. Raises KeyError for an unknown name."""
    module, _, factory = LAUNCHERS[name].partition(":")
    made = cast(Callable[[Home, "Gpu | None"], Launcher], getattr(import_module(module), factory))
    return made(home, gpu)
