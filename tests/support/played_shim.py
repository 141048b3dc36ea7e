"""A served model's shim on a clock of the test's: it holds the lock, obeys `away.json` and `stopped`, and writes its state.

Its llama-server is this process, so that it lives as long as the state says so.
"""

from __future__ import annotations

import fcntl
import os

from core.clock import Clock
from core.home import Home
from core.process.identity import ProcessIdentity, current_boot_id
from core.reasons import Reason
from core.served.record import ServedModelRecord, write_record
from core.served.state import Phase, ServedState, write_state

PID = 5000
"""As the played GPU shows its llama-server."""


class PlayedShim:
    """`ends_seconds` is what its server takes to end, `loads_seconds` to load; with `fails` none comes up."""

    def __init__(
        self,
        home: Home,
        clock: Clock,
        name: str = "note",
        *,
        on_gpu: bool = True,
        vram_bytes: int = 0,
        port: int = 18080,
    ) -> None:
        self.home, self.clock, self.name, self.vram_bytes = home, clock, name, vram_bytes
        self.folder = home.served_dir(name)
        self.ends_seconds, self.loads_seconds = 0.6, 2.0
        self.fails: Reason | None = None
        self.starts = 0
        """How often a server was started."""
        self.phases: list[Phase] = []
        record = ServedModelRecord(
            name, home.root / "m.gguf", "ab" * 32, "note", "tiny", 1, ("llama-server",), port, 2048, on_gpu=on_gpu
        )
        write_record(home, record)
        self.identity = ProcessIdentity.of(os.getpid())
        self._until = 0.0
        self._lock: int | None = None
        self.begin()
        self.round()
        self._until = 0.0
        self.round()

    def begin(self) -> None:
        """The process starts."""
        self._lock = os.open(self.folder.shim_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self.phase: Phase = "stopped"
        self.runs = False

    def die(self) -> None:
        """SIGKILL: its server goes with it, and nothing is written."""
        assert self._lock is not None
        os.close(self._lock)
        self._lock, self.runs = None, False
        self._write(self.phase)

    @property
    def lives(self) -> bool:
        return self._lock is not None

    @property
    def serves(self) -> bool:
        return self.phase == "serving" and self._lock is not None

    def round(self) -> None:
        """What it does in the time since its last look."""
        if self._lock is None:
            return
        now = self.clock.monotonic()
        unwanted = self.folder.away.exists() or self.folder.stopped.exists()
        if unwanted and self.runs:
            self._until = (
                now + self.ends_seconds if self.phase in ("serving", "loading") and not self._ending else self._until
            )
            self._ending = True
            if now >= self._until:
                self.runs = False
                self._enter("stopped" if self.folder.stopped.exists() else "away")
        elif unwanted:
            self._enter("stopped" if self.folder.stopped.exists() else "away")
        elif not self.runs and self.fails is not None:
            self._enter("failed")
        elif not self.runs:
            self.runs, self._ending, self._until = True, False, now + self.loads_seconds
            self.starts += 1
            self._enter("loading")
        elif self.phase == "loading" and now >= self._until:
            self._enter("serving")

    def _enter(self, phase: Phase) -> None:
        if phase != self.phase:
            self.phases.append(phase)
        self.phase = phase
        self._write(phase)

    def _write(self, phase: Phase) -> None:
        reason = self.fails if phase == "failed" else Reason("by_person") if phase == "stopped" else None
        server = self.identity if self.runs else None
        write_state(
            self.folder,
            ServedState(phase, self.clock.time(), server, self.identity, reason, boot_id=current_boot_id()),
        )
