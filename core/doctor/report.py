"""The doctor's report: lines in sections, and the method that it recommends. Importing it brings nothing heavy."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from core.files import read_json, write_json
from core.home import Home

State = Literal["ok", "warning", "fault", "absent"]
SCHEMA = 1

# The sections in the order in which they are shown.
SECTIONS = ("gpu", "torch", "probes", "environment", "serving", "machine")


@dataclass(frozen=True)
class Line:
    """One finding. `absent`: it is not there, and that is no fault. `remedy` says what to do, empty where there is nothing."""

    subject: str
    state: State
    message: str
    remedy: str = ""
    section: str = "machine"

    def to_json(self) -> dict[str, str]:
        return dict(self.__dict__)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Line:
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
    lines: tuple[Line, ...]
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

    def sections(self) -> list[tuple[str, tuple[Line, ...]]]:
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
            tuple(Line.from_json(line) for line in document["lines"]),
            Recommended(recommended["method"], recommended["why"]),
            document["quick"],
            document["seconds"],
        )

    def age_seconds(self) -> float:
        return max(0.0, time.time() - self.time)


def report_file(home: Home) -> Path:
    return home.cache / "doctor.json"


def last_report(home: Home) -> Report | None:
    """The report that was made last; None when there is none that can be read."""
    try:
        document = read_json(report_file(home))
        return None if document is None else Report.from_json(document)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def store_report(home: Home, report: Report) -> None:
    home.cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_json(report_file(home), report.to_json())


def examine(home: Home, *, quick: bool = False) -> Report:
    """Look at everything, store the report in the home and return it. `quick` leaves out the probes with torch.

    Takes a second or two quickly, up to a few minutes with the probes: call it in a thread where one may not wait.
    """
    from core.doctor.examination import Examination

    report = Examination.of_this_machine(home, quick=quick).report()
    store_report(home, report)
    return report
