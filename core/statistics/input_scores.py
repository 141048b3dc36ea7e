"""What comparisons are made of: one candidate's mean score of each part by input, and how much its repeats vary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from core.scoring.scorer import Part
from core.statistics.consistency import Repeats, repeatability

if TYPE_CHECKING:
    from core.scoring.scored_answers import ScoredAnswers


@dataclass(frozen=True)
class InputScores:
    """One candidate. A part that has no scored answers is not there."""

    candidate: str
    by_part: Mapping[Part, Mapping[str, float]]
    repeats_of: Mapping[Part, Repeats] = field(default_factory=dict)

    def means(self, part: Part) -> Mapping[str, float]:
        """The mean over the repeats of each input that has a scored answer."""
        return self.by_part.get(part, {})

    def mean(self, part: Part) -> float | None:
        """The score: the mean over inputs."""
        means = self.means(part)
        return fmean(means.values()) if means else None

    def rank(self, parts: Sequence[Part]) -> tuple[float, ...]:
        """By what candidates are put in order: the scores of the parts, −1 for one without any."""
        return tuple(-1.0 if (mean := self.mean(part)) is None else mean for part in parts)

    def repeats(self, part: Part) -> Repeats | None:
        """How much the repeats vary; None where they were not sampled."""
        return self.repeats_of.get(part)

    def only(self, inputs: Sequence[str]) -> InputScores:
        """Of these inputs alone; how much repeats vary is still that of all."""
        wanted = set(inputs)
        parts = {
            part: {name: mean for name, mean in means.items() if name in wanted} for part, means in self.by_part.items()
        }
        return InputScores(self.candidate, parts, self.repeats_of)


def scores_of_answers(scored: ScoredAnswers, parts: Sequence[Part], *, sampled: bool) -> InputScores:
    """Those of scored answers. `sampled`: the repeats have seeds of their own and a temperature above 0."""
    repeats = {}
    for part in parts if sampled else ():
        by_input = scored.part(part)
        deviation = repeatability(list(by_input.values()))
        if deviation is not None:
            repeats[part] = Repeats(deviation, {name: len(values) for name, values in by_input.items() if values})
    return InputScores(scored.candidate, {part: scored.means(part) for part in parts}, repeats)
