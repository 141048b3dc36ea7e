"""Input × candidate: what one candidate scored on each golden input. In this table one sees which input a model fails."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
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

    `missing` counts repeats without a scored answer, `faults` answers by what the model did wrong, `unjudged` answers whose
    content is unknown, as no judge has said anything of them.
    """

    answers: int
    missing: int
    format: RepeatScores | None
    content: RepeatScores | None
    faults: Mapping[str, int]
    unjudged: int = 0

    def open(self, part: Part) -> int:
        """Repeats without a score of this part."""
        return self.missing + (self.unjudged if part == "content" else 0)

    def scored(self, part: Part) -> int:
        """Repeats with one."""
        return self.answers - (self.unjudged if part == "content" else 0)

    def part(self, part: Part) -> RepeatScores | None:
        return self.format if part == "format" else self.content


def input_cells(scored: ScoredAnswers, repeats: int) -> tuple[InputCell, ...]:
    """The cell of each golden input, of which `repeats` answers are wanted."""
    found = dict.fromkeys(scored.inputs, InputCell(0, repeats, None, None, {}))
    formats, contents = _of_part(scored, "format"), _of_part(scored, "content")
    faults = scored.columns.faults
    # Most inputs are like another one: of a large board it takes longer to make the cells than to work them out.
    made: dict[tuple[object, ...], InputCell] = {}
    for name, first, behind in scored.spans:
        said = [fault for fault in faults[first:behind] if fault is not None]
        format_scores, content_scores = formats.get(name), contents.get(name)
        unjudged = scored.unjudged_by_input.get(name, 0)
        key = (behind - first, format_scores, content_scores, unjudged, *said)
        cell = made.get(key)
        if cell is None:
            cell = made[key] = InputCell(
                answers=behind - first,
                missing=max(0, repeats - (behind - first)),
                format=None if format_scores is None else RepeatScores(*format_scores),
                content=None if content_scores is None else RepeatScores(*content_scores),
                faults=dict(Counter(said)),
                unjudged=unjudged,
            )
        found[name] = cell
    return tuple(found.values())


def _of_part(scored: ScoredAnswers, part: Part) -> dict[str, tuple[float, float]]:
    """(mean, worst) of the repeats by input."""
    worst = scored.worst(part)
    return {name: (mean, worst[name]) for name, mean in scored.means(part).items()}
