"""`gpu_lease.json`: what the runner knows of the GPU, for the console and the commands. Written when it changes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from core.files import write_atomic
from core.home import Home

Phase = Literal["free", "clearing", "held", "verifying", "restoring", "blocked"]
KEPT_NOTES = 20
SAME_NOTE_SECONDS = 600.0
TOLD_BYTES = 50_000_000
"""By how much memory of nobody has to change to be told anew."""


@dataclass(frozen=True)
class ResidentModel:
    """A model that the server holds. `expires_at` in Unix seconds, None for one that stays."""

    name: str
    size_vram_bytes: int
    context_length: int | None = None
    expires_at: float | None = None


@dataclass(frozen=True)
class Intruder:
    """A model that a client had loaded while a job held the GPU: since when, and how many times."""

    name: str
    since: float
    times: int = 1


@dataclass(frozen=True)
class Note:
    """Something that happened to the GPU."""

    time: float
    message: str
    level: Literal["ok", "warn", "bad"] = "ok"


@dataclass(frozen=True)
class LeaseState:
    """`phase`: nobody has the GPU, it is being made free, held, looked at after a job, its models come back, or others
    hold it. `job_id` has it or is being given it, `since` that; `message` says what goes on in one line.

    `displaced` names what was unloaded for the job and comes back afterwards. `baseline_bytes` is the GPU's idle use,
    `unowned_bytes` what no process owns, once that is more than the tolerance; `advice` says what to do about it.
    """

    time: float
    pci: str | None = None
    phase: Phase = "free"
    job_id: int | None = None
    since: float | None = None
    message: str = ""
    server: str | None = None
    server_problem: str | None = None
    residents: tuple[ResidentModel, ...] = ()
    displaced: tuple[str, ...] = ()
    intruders: tuple[Intruder, ...] = ()
    baseline_bytes: int | None = None
    models_stay: bool = False
    tolerance_bytes: int = 300_000_000
    unowned_bytes: int | None = None
    unowned_since: float | None = None
    advice: str = ""
    notes: tuple[Note, ...] = ()

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LeaseState:
        """Raises ValueError when the document is no state of a GPU."""
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in document.items() if name in known}
        try:
            values["residents"] = tuple(ResidentModel(**item) for item in values.get("residents", ()))
            values["intruders"] = tuple(Intruder(**item) for item in values.get("intruders", ()))
            values["notes"] = tuple(Note(**item) for item in values.get("notes", ()))
            values["displaced"] = tuple(values.get("displaced", ()))
            return cls(**values)
        except TypeError as error:
            raise ValueError(f"not a GPU's state: {error}") from error

    def noted(self, note: Note) -> LeaseState:
        """With one more note; trouble that goes on is noted once in a while."""
        recent = [one.message for one in self.notes if note.time - one.time < SAME_NOTE_SECONDS]
        if note.level != "ok" and note.message in recent:
            return self
        return replace(self, notes=(*self.notes, note)[-KEPT_NOTES:])


def read_lease_state(home: Home) -> LeaseState | None:
    """What the runner wrote last, None where there is no GPU, or nothing that this version understands."""
    try:
        document = json.loads(home.lease_state.read_text())
        return LeaseState.from_json(document) if isinstance(document, dict) else None
    except (OSError, ValueError):
        return None


def write_lease_state(home: Home, state: LeaseState) -> None:
    # In ASCII: a name with a lone surrogate, as a model server can send one, is no UTF-8.
    write_atomic(home.lease_state, json.dumps(state.to_json(), indent=1) + "\n", durable=False)


class StateFile:
    """Writes `gpu_lease.json` whenever the state says something new. For one writer."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._told: LeaseState | None = None

    def put(self, state: LeaseState) -> None:
        """Raises OSError, and tries again with the next state."""
        told = self._worth(state)
        if told != self._told:
            write_lease_state(self.home, state)
            self._told = told

    @staticmethod
    def _worth(state: LeaseState) -> LeaseState:
        """What is worth a new file: the hour at which a model in use would go changes with each of its answers."""
        residents = tuple(replace(one, expires_at=None) for one in state.residents)
        return replace(state, time=0.0, residents=residents, unowned_bytes=(state.unowned_bytes or 0) // TOLD_BYTES)
