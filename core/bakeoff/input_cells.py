"""Input × candidate: what one candidate scored on each golden input. In this table one sees which input a model fails."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.scoring.scored_answers import ScoredAnswers
from core.scoring.scorer import Part

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


def input_cells(scored: ScoredAnswers, repeats: int) -> tuple[InputCell, ...]:
    """The cell of each golden input, of which `repeats` answers are wanted."""
    found = dict.fromkeys(scored.inputs, InputCell(0, repeats, None, None, {}))
    formats, contents = scored.part("format"), scored.part("content")
    faults = scored.columns.faults
    for name, first, behind in scored.spans:
        found[name] = InputCell(
            answers=behind - first,
            missing=max(0, repeats - (behind - first)),
            format=_scores(formats.get(name)),
            content=_scores(contents.get(name)),
            faults=dict(Counter(fault for fault in faults[first:behind] if fault is not None)),
        )
    return tuple(found.values())


def _scores(values: Sequence[float] | None) -> RepeatScores | None:
    return RepeatScores(math.fsum(values) / len(values), min(values)) if values else None
