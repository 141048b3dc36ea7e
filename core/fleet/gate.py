"""What the gate of a promotion says: pass, fail or cannot tell, condition by condition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from core.reasons import Value

GateOutcome: TypeAlias = Literal["pass", "fail", "cannot_tell", "not_asked"]
ConditionCode: TypeAlias = Literal[
    "measured", "incumbent_measured", "not_worse", "parity", "no_leak", "other_task", "fresh", "complete"
]


@dataclass(frozen=True)
class Condition:
    """One condition of a promotion, with the figures it rests on. `not_asked`: it does not apply, and counts for nothing."""

    code: ConditionCode
    outcome: GateOutcome
    values: Mapping[str, Value]

    def to_json(self) -> dict[str, Any]:
        return {"code": self.code, "outcome": self.outcome, "values": dict(self.values)}


@dataclass(frozen=True)
class Gate:
    """All conditions of one promotion. They must hold together, so none is corrected for the others.

    `best_of` is of how many candidates this one may be the choice (`evidence.chosen_among`), `same_inputs` whether it was
    chosen by the inputs it is judged by.
    """

    outcome: GateOutcome
    conditions: tuple[Condition, ...]
    task: str
    alias: str
    candidate: str
    incumbent: str | None
    bakeoff_job: int | None
    best_of: int
    same_inputs: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome,
            "conditions": [one.to_json() for one in self.conditions],
            "task": self.task,
            "alias": self.alias,
            "candidate": self.candidate,
            "incumbent": self.incumbent,
            "bakeoff_job": self.bakeoff_job,
            "best_of": self.best_of,
            "same_inputs": self.same_inputs,
        }


def joined(conditions: Iterable[Condition]) -> GateOutcome:
    """What conditions come to together: one that fails fails all, else one that cannot tell leaves all untold."""
    outcomes = {one.outcome for one in conditions}
    return "fail" if "fail" in outcomes else "cannot_tell" if "cannot_tell" in outcomes else "pass"
