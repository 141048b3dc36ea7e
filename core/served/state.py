"""What a served model does now: `state.json`, written by its shim, read by everybody else.

The shim holds `shim.lock` for life: a state whose shim does not live is what was, and is told as such. Standard library and
light rooms only, for the shim's sake.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from dataclasses import dataclass
from typing import Any, Literal, get_args

from core.files import write_atomic
from core.home import Home, ServedDir
from core.process.identity import ProcessIdentity, current_boot_id
from core.process.locks import held
from core.process.stat import PROC
from core.reasons import Reason

Phase = Literal["loading", "serving", "away", "failed", "stopped"]
"""`loading` until `/health` says ok; `away` for jobs that have the GPU (`away.json`); `failed` between two tries; `stopped` by
a person, or ended with its machine or shim."""
PHASES: tuple[str, ...] = get_args(Phase)

NOT_STARTED = Reason("not_started")
RESTARTED = Reason("restarted")
SHIM_GONE = Reason("shim_gone")
BY_PERSON = Reason("by_person")


@dataclass(frozen=True)
class ServedState:
    """`server` is llama-server's process, None while there is none; `shim` its parent. `since` in Unix seconds: of the phase.

    Reasons: `away` (`jobs`), `died` (`said`, `retry_seconds`), `port_taken` (`port`, `retry_seconds`), `out_of_memory` and
    `refused` (`said`, `retry_seconds`), `no_start` (`said`, `retry_seconds`), `by_person`, `ended` (`signal`); without a shim
    `not_started`, `restarted` (the machine) and `shim_gone`.
    `deaths` counts how often in a row it died quickly; `boot_id` is the boot of all that.
    """

    phase: Phase
    since: float
    server: ProcessIdentity | None = None
    shim: ProcessIdentity | None = None
    reason: Reason | None = None
    deaths: int = 0
    boot_id: str = ""

    @property
    def pid(self) -> int | None:
        """Of llama-server."""
        return None if self.server is None else self.server.pid

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "phase": self.phase,
            "since": self.since,
            "pid": self.pid,
            "server": None if self.server is None else self.server.to_json(),
            "shim": None if self.shim is None else self.shim.to_json(),
            "reason": None if self.reason is None else self.reason.to_json(),
            "deaths": self.deaths,
            "boot_id": self.boot_id,
        }

    @classmethod
    def from_json(cls, document: Any) -> ServedState:
        """Raises ValueError when the document is no state."""
        try:
            if document["phase"] not in PHASES:
                raise ValueError(f"no phase: {document['phase']!r}")
            reason = document.get("reason")
            return cls(
                document["phase"],
                float(document["since"]),
                ProcessIdentity.from_json(document.get("server")),
                ProcessIdentity.from_json(document.get("shim")),
                None if reason is None else Reason.from_json(reason),
                int(document.get("deaths") or 0),
                str(document.get("boot_id") or ""),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no state of a served model: {error}") from error


def write_state(folder: ServedDir, state: ServedState) -> None:
    """Whole at once; not waited for until the disk has it, for a restart of the machine makes it void. Raises OSError."""
    write_atomic(folder.state, json.dumps(state.to_json(), ensure_ascii=False, indent=1) + "\n", durable=False)


def written_state(folder: ServedDir) -> ServedState | None:
    """What the shim last wrote, whether it lives or not; None where nothing can be read."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        return ServedState.from_json(json.loads(folder.state.read_bytes()))
    return None


def is_running(folder: ServedDir) -> bool:
    """Whether its shim lives, and so whether it serves, will serve, or says why not."""
    return held(folder.shim_lock)


def any_running(home: Home) -> bool:
    """Whether the shim of any served model of a home lives."""
    return any(held(lock) for lock in home.served.glob("*/shim.lock"))


def read_state(home: Home, name: str) -> ServedState:
    """What a served model does now. Where no shim lives the phase is `stopped`, with the reason."""
    folder = home.served_dir(name)
    running = is_running(folder)  # looked at first: a shim writes its state before it lets go of the lock
    written = written_state(folder)
    if running:
        # A new shim has the lock a moment before what a killed one wrote is gone.
        if written is None or (written.shim is not None and not written.shim.alive()):
            return ServedState("loading", time.time(), boot_id=current_boot_id())
        return written
    if written is None:
        return ServedState("stopped", time.time(), reason=NOT_STARTED)
    same_boot = written.boot_id == current_boot_id()
    if written.phase == "stopped" and (same_boot or written.reason == BY_PERSON):
        return written
    reason = SHIM_GONE if same_boot else RESTARTED
    return ServedState("stopped", written.since, reason=reason, deaths=written.deaths, boot_id=written.boot_id)


def memory_bytes(state: ServedState) -> int | None:
    """What llama-server holds of the host's memory now; None where there is none, or it cannot be told."""
    if state.server is None or not state.server.alive():
        return None
    with contextlib.suppress(OSError, ValueError, IndexError):
        pages = int((PROC / str(state.server.pid) / "statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")
    return None
