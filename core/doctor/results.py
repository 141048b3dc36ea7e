"""What the doctor found, as values: results in sections, and the method of training that is recommended."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Literal

from core.redaction import redact

State = Literal["ok", "warning", "fault", "absent"]
SCHEMA = 1

# The sections in the order in which they are shown.
SECTIONS = ("gpu", "torch", "probes", "environment", "serving", "machine")


@dataclass(frozen=True)
class Diagnostic:
    """One finding. `absent`: it is not there, and that is no fault. `remedy` says what to do, empty where there is nothing."""

    subject: str
    state: State
    message: str
    remedy: str = ""
    section: str = "machine"

    def __post_init__(self) -> None:
        for name in ("message", "remedy"):
            object.__setattr__(self, name, redact(getattr(self, name)))

    def to_json(self) -> dict[str, str]:
        return dict(self.__dict__)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Diagnostic:
        return cls(document["subject"], document["state"], document["message"], document["remedy"], document["section"])


@dataclass(frozen=True)
class Recommended:
    """How to train on this box, and why; `method` is empty when nothing can be recommended."""

    method: str
    why: str


@dataclass(frozen=True)
class Report:
    """`quick`: the probes with torch were left out."""

    time: float
    lines: tuple[Diagnostic, ...]
    recommended: Recommended
    quick: bool = False
    seconds: float = 0.0

    @property
    def worst(self) -> State:
        """`fault`, `warning` or `ok`."""
        states = {line.state for line in self.lines}
        return "fault" if "fault" in states else "warning" if "warning" in states else "ok"

    def count(self, state: State) -> int:
        return sum(line.state == state for line in self.lines)

    def sections(self) -> list[tuple[str, tuple[Diagnostic, ...]]]:
        """(name, its lines) of every section that has any, in the order in which they are shown."""
        known = [*SECTIONS, *sorted({line.section for line in self.lines} - set(SECTIONS))]
        grouped = [(name, tuple(line for line in self.lines if line.section == name)) for name in known]
        return [(name, lines) for name, lines in grouped if lines]

    def to_json(self) -> dict[str, Any]:
        return {
            "report": SCHEMA,
            "time": self.time,
            "quick": self.quick,
            "seconds": self.seconds,
            "worst": self.worst,
            "lines": [line.to_json() for line in self.lines],
            "recommended": {"method": self.recommended.method, "why": self.recommended.why},
        }

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Report:
        """Raises KeyError or TypeError for what is no report."""
        recommended = document["recommended"]
        return cls(
            document["time"],
            tuple(Diagnostic.from_json(line) for line in document["lines"]),
            Recommended(recommended["method"], recommended["why"]),
            document["quick"],
            document["seconds"],
        )

    def age_seconds(self) -> float:
        return max(0.0, time.time() - self.time)
