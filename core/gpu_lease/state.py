"""`gpu_lease.json`: what the runner knows of the GPU, for the console and the commands. Written when it changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, TypeVar

from core.files import write_atomic
from core.gpu_lease.notes import Note
from core.gpu_lease.phases import Phase
from core.home import Home
from core.reasons import Reason

TOLD_BYTES = 50_000_000
"""By how much memory of nobody has to change to be told anew."""

T = TypeVar("T")


@dataclass(frozen=True)
class ResidentModel:
    """A model that the server holds. `expires_at` in Unix seconds, None for one that stays."""

    name: str
    size_vram_bytes: int
    context_length: int | None = None
    expires_at: float | None = None


@dataclass(frozen=True)
class Intruder:
    """A model that a client had loaded while a job held the GPU: since when (Unix seconds), and how many times."""

    name: str
    since: float
    times: int = 1


@dataclass(frozen=True)
class LeaseState:
    """`phase`: nobody has the GPU, it is being made free, held, looked at after a job, its models come back, or others
    hold it. `job_id` has it or is being given it, `since` that, and `cause` says what led there. `status` is what goes on, or
    what the next job waits for. Times are Unix seconds.

    `mode` is what the job does with the GPU (`core.jobfile.gpu_use`). `evicted` names what comes back after the job: what was
    unloaded for it, or was loaded before a job that asks the server. `served` are the home's served models that hold memory of
    the GPU, `served_away` those that are away for the job and come back after it. `server_fault`: why nothing is known of the
    model server. `baseline_bytes` is the GPU's idle use, `unowned_bytes` what no process owns, once that is more than the
    tolerance; `remedy` says what to do about it.
    """

    time: float
    pci: str | None = None
    phase: Phase = "free"
    job_id: int | None = None
    since: float | None = None
    cause: str = "nothing_to_do"
    mode: str = "exclusive"
    status: Reason | None = None
    server: str | None = None
    server_fault: Reason | None = None
    residents: tuple[ResidentModel, ...] = ()
    evicted: tuple[str, ...] = ()
    intruders: tuple[Intruder, ...] = ()
    served: tuple[ResidentModel, ...] = ()
    served_away: tuple[str, ...] = ()
    baseline_bytes: int | None = None
    models_stay: bool = False
    tolerance_bytes: int = 300_000_000
    unowned_bytes: int | None = None
    unowned_since: float | None = None
    remedy: Reason | None = None
    notes: tuple[Note, ...] = ()

    @property
    def faulted(self) -> bool:
        """Whether the GPU is blocked after a page fault."""
        return (self.phase, self.cause) == ("blocked", "gpu_faulted")

    @property
    def serves(self) -> bool:
        """Whether the job that has the GPU, or had it last, asks the model server, whose models stay."""
        return self.mode == "serving"

    @property
    def loaded_bytes(self) -> int:
        """What served models are said to hold of the GPU: those that the model server lists, and those of this home."""
        return sum(one.size_vram_bytes for one in (*self.residents, *self.served))

    def to_json(self) -> dict[str, Any]:
        document = asdict(replace(self, notes=(), status=None, server_fault=None, remedy=None))
        for name in _REASONS:
            reason: Reason | None = getattr(self, name)
            document[name] = None if reason is None else reason.to_json()
        return {**document, "notes": [note.to_json() for note in self.notes]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> LeaseState:
        """Keys that are not known are passed over. Raises ValueError when the document is no state of a GPU."""
        known = {field.name for field in fields(cls)}
        values = {name: value for name, value in document.items() if name in known}
        try:
            values["residents"] = _all(ResidentModel, values.get("residents", ()))
            values["served"] = _all(ResidentModel, values.get("served", ()))
            values["served_away"] = tuple(str(name) for name in values.get("served_away", ()))
            values["intruders"] = _all(Intruder, values.get("intruders", ()))
            values["notes"] = tuple(Note.from_json(item) for item in values.get("notes", ()))
            values["evicted"] = tuple(str(name) for name in values.get("evicted", ()))
            for name in _REASONS:
                values[name] = None if values.get(name) is None else Reason.from_json(values[name])
            return cls(**values)
        except (TypeError, AttributeError) as error:
            raise ValueError(f"not a GPU's state: {error}") from error


_REASONS = ("status", "server_fault", "remedy")


def _all(kind: Callable[..., T], items: list[dict[str, Any]]) -> tuple[T, ...]:
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return tuple(kind(**{name: value for name, value in item.items() if name in known}) for item in items)


def read_lease_state(home: Home) -> LeaseState | None:
    """What the runner wrote last, None where there is no GPU, or nothing that this version understands."""
    try:
        document = json.loads(home.lease_state.read_bytes())
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
        served = tuple(replace(one, size_vram_bytes=one.size_vram_bytes // TOLD_BYTES) for one in state.served)
        return replace(
            state, time=0.0, residents=residents, served=served, unowned_bytes=(state.unowned_bytes or 0) // TOLD_BYTES
        )
