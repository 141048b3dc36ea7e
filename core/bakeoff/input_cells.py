"""Input × candidate: what one candidate scored on each golden input. In this table one sees which input a model fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from core.bakeoff.scored_answers import ScoredAnswer
from core.bakeoff.scoring import Part

FAULTS = ("empty", "length", "thinking")
"""What a model can do wrong with a whole answer, in the order in which it is shown."""


@dataclass(frozen=True)
class RepeatScores:
    """One part of the score over the repeats of an input, in [0, 1]."""

    mean: float
    worst: float


@dataclass(frozen=True)
class InputCell:
    """One candidate on one input. A part is None where the task has no such checks, or no answer is scored.

    `missing` counts repeats without a scored answer, `faults` answers by what the model did wrong.
    """

    answers: int
    missing: int
    format: RepeatScores | None
    content: RepeatScores | None
    faults: Mapping[str, int]

    def part(self, part: Part) -> RepeatScores | None:
        return self.format if part == "format" else self.content


def input_cell(scored: Sequence[ScoredAnswer], repeats: int) -> InputCell:
    """The cell of one input of which `repeats` answers are wanted."""
    return InputCell(
        answers=len(scored),
        missing=max(0, repeats - len(scored)),
        format=_scores(scored, "format"),
        content=_scores(scored, "content"),
        faults=dict(Counter(one.fault for one in scored if one.fault is not None)),
    )


def _scores(scored: Sequence[ScoredAnswer], part: Part) -> RepeatScores | None:
    values = [value for one in scored if (value := one.parts[part]) is not None]
    return RepeatScores(fmean(values), min(values)) if values else None
