"""What is measured of a candidate beside its answers: who answers for it, and what each load of it took.

A line of `candidates.jsonl` each, written by the job whenever a model is loaded.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from core.bakeoff.rows import CandidateRow
from core.files import append_line, read_lines
from core.serving.answering import Capabilities, LoadedModel, ServedIdentity


@dataclass(frozen=True)
class MeasuredCandidate:
    """One load of a candidate's model in one attempt of the bake-off. `time` is in Unix seconds."""

    candidate: str
    attempt: int
    time: float
    identity: ServedIdentity
    loaded: LoadedModel
    capabilities: Capabilities

    def to_json(self) -> dict[str, Any]:
        document = asdict(self)
        document["identity_sha256"] = self.identity.sha256
        document["capabilities"]["formats"] = sorted(self.capabilities.formats)
        document["capabilities"]["unsent"] = sorted(self.capabilities.unsent)
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> MeasuredCandidate:
        """What a line says. KeyError or TypeError for one of another version."""
        able = dict(document["capabilities"])
        for name in ("formats", "unsent"):
            able[name] = frozenset(able[name])
        return cls(
            candidate=document["candidate"],
            attempt=document["attempt"],
            time=document["time"],
            identity=ServedIdentity(**document["identity"]),
            loaded=LoadedModel(**document["loaded"]),
            capabilities=Capabilities(**able),
        )


def append_measured(path: Path, measured: MeasuredCandidate) -> None:
    """Append one whole line and wait for the disk."""
    append_line(path, measured.to_json())


def read_measured(path: Path) -> list[MeasuredCandidate]:
    """The lines of a file in their order; none of a bake-off that loaded nothing, or is of before there was such a file."""
    return parse_measured(document for document, _ in read_lines(path))


def parse_measured(documents: Iterable[Mapping[str, Any]]) -> list[MeasuredCandidate]:
    """What lines say. One that another version wrote in another way tells nothing."""
    found = []
    for document in documents:
        with contextlib.suppress(KeyError, TypeError):
            found.append(MeasuredCandidate.from_json(document))
    return found


def cold_load_seconds(loads: Iterable[MeasuredCandidate]) -> float | None:
    """The median of the loads of a model that was not in memory before; None without one."""
    cold = [one.loaded.seconds for one in loads if not one.loaded.was_resident]
    return median(cold) if cold else None


def vram_bytes(loads: Iterable[MeasuredCandidate]) -> int | None:
    """The most that any load took; None where no server told."""
    return max((one.loaded.vram_bytes for one in loads if one.loaded.vram_bytes is not None), default=None)


def with_loads(rows: Iterable[CandidateRow], measured: Iterable[MeasuredCandidate]) -> tuple[CandidateRow, ...]:
    """The rows with what the loads of their models took."""
    loads: dict[str, list[MeasuredCandidate]] = {}
    for one in measured:
        loads.setdefault(one.candidate, []).append(one)
    return tuple(
        replace(
            row,
            cold_load_seconds=cold_load_seconds(loads.get(row.name, ())),
            vram_bytes=vram_bytes(loads.get(row.name, ())),
        )
        for row in rows
    )
