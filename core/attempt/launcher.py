"""Who runs attempts: the one protocol between the runner and whatever starts processes for it.

A launcher starts an attempt, tells what has become of it, and signals it. `core.attempt.local` does so on this machine; another
one (a batch system, a container) is a module of its own and a line of `LAUNCHERS`. An attempt leaves the same files whoever
runs it: `events.jsonl`, `result.json`, `exit.json` (docs/architecture.md).
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol, cast

from core.files import read_json, write_json
from core.home import AttemptDir, Home

if TYPE_CHECKING:
    from core.gpu.devices import Gpu
    from core.gpu_lease.lock import Lease

NO_REMEDIES: Mapping[str, str] = MappingProxyType({})
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

    def start(self, attempt: AttemptDir, python: str, lease: Lease | None, remedies: Mapping[str, str]) -> str:
        """Start an attempt under this interpreter and return once it is certain that its end will be seen.

        The attempt holds the lease as long as it lives. `remedies` are variables that its environment gets for what befell
        a former attempt. Returns what keeps the attempt alive (`scope`, `session`, …). Raises `BakehouseError` when nothing
        was started.
        """

    def observe(self, attempt: AttemptDir, boot_id: str) -> Observation:
        """What an attempt that began under `boot_id` does now.

        `never_started` is a promise for the future as well: the attempt will not begin any more.
        """

    def activity(self, attempt: AttemptDir) -> Activity | None:
        """What its processes do; None when none lives, or nobody can tell."""

    def owns(self, attempt: AttemptDir, pid: int) -> bool:
        """Whether this is the pid of a process of the attempt, also of its job's process that has ended."""

    def signal(self, attempt: AttemptDir, number: signal.Signals, by: str) -> bool:
        """Send a signal to all processes of an attempt and write it down; False when none of them lives."""


LAUNCHERS = {"local": "core.attempt.local:LocalLauncher"}
"""Where each launcher is: `module:class`, made of a home and the GPU that jobs see. Imported when it is needed."""
DEFAULT = "local"


def launcher(home: Home, gpu: Gpu | None = None) -> Launcher:
    """What starts the jobs of a home, which see no GPU but `gpu`, and follows every attempt that any launcher has started."""
    return EveryLauncher(home, gpu, DEFAULT)


class EveryLauncher:
    """Starts attempts with one launcher, and asks about each attempt the one that started it."""

    def __init__(self, home: Home, gpu: Gpu | None, name: str) -> None:
        self.home = home
        self.gpu = gpu
        self.name = name
        self._made: dict[str, Launcher] = {}
        self._started_by: dict[AttemptDir, str] = {}

    def warning(self) -> str | None:
        return self._named(self.name).warning()

    def start(self, attempt: AttemptDir, python: str, lease: Lease | None, remedies: Mapping[str, str]) -> str:
        attempt.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Written first: whatever becomes of the start, the next runner knows whom to ask about the attempt.
        write_json(attempt.launcher, {"name": self.name})
        self._started_by[attempt] = self.name
        return self._named(self.name).start(attempt, python, lease, remedies)

    def observe(self, attempt: AttemptDir, boot_id: str) -> Observation:
        return self._of(attempt).observe(attempt, boot_id)

    def activity(self, attempt: AttemptDir) -> Activity | None:
        return self._of(attempt).activity(attempt)

    def owns(self, attempt: AttemptDir, pid: int) -> bool:
        return self._of(attempt).owns(attempt, pid)

    def signal(self, attempt: AttemptDir, number: signal.Signals, by: str) -> bool:
        return self._of(attempt).signal(attempt, number, by)

    def _of(self, attempt: AttemptDir) -> Launcher:
        name = self._started_by.get(attempt)
        if name is None:
            written = read_json(attempt.launcher)
            if written is None:
                # Its runner died before that was written down, so nobody started it: any launcher sees so.
                return self._named(self.name)
            # Written once for each attempt, and asked for at each round.
            name = self._started_by[attempt] = str(written["name"])
        return self._named(name)

    def _named(self, name: str) -> Launcher:
        if name not in self._made:
            module, _, factory = LAUNCHERS[name].partition(":")
            made = cast(Callable[[Home, "Gpu | None"], Launcher], getattr(import_module(module), factory))
            self._made[name] = made(self.home, self.gpu)
        return self._made[name]
