"""When a candidate need not be asked on: it cannot reach the incumbent any more, whatever its other answers score.

No statistics are needed for that, as scores lie in [0, 1]. What is not answered yet counts as 1 for the candidate and as 0 for
the incumbent, so that the rule is exact at any time; the margin is in it, as "no worse" allows for the margin, too. A stopped
candidate is censored: its answers until then are no sample of what it can do (`build_leaderboard`, `curtailed`).
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from core.scoring.answers import Answer
from core.scoring.scorer import PARTS, Score, part_score, plan_checks, score_answer
from core.scoring.to_judge import judge_checks
from core.statistics.paired import ROUNDING

if TYPE_CHECKING:
    from core.config.golden import GoldenInput
    from core.config.task import Task
    from core.scoring.scored_answers import ScoredAnswers

Answered = Mapping[str, Sequence[float]]
"""The scores so far by input, one a repeat; inputs without any may be left out."""


def hopeless(answered: Answered, incumbent: Answered, inputs: Collection[str], repeats: int, margin: float) -> bool:
    """Whether the best mean that is still possible is below the worst that the incumbent can end with, less the margin.

    `inputs` are all that are asked, `repeats` how often each. Scores are those of the part that leads the task's board.
    """
    best = bounds_of_mean(answered, inputs, repeats)[1]
    worst = bounds_of_mean(incumbent, inputs, repeats)[0]
    return best < worst - margin - ROUNDING


def bounds_of_mean(answered: Answered, inputs: Collection[str], repeats: int) -> tuple[float, float]:
    """(least, greatest) mean over the inputs that is possible after all repeats; (0, 1) where nothing is planned.

    Scores of inputs that are not planned, and of more repeats than are, do not count.
    """
    planned = len(inputs) * repeats
    if planned == 0:
        return 0.0, 1.0
    known = [score for name in inputs for score in answered.get(name, ())[:repeats]]
    total = math.fsum(known)
    return total / planned, (total + planned - len(known)) / planned


class RunningScores:
    """The scores of one task as they come, of the part that leads its board; who cannot reach `against` any more.

    `repeats` is how often each input is asked, `margin` that of the task.
    """

    def __init__(self, task: Task, inputs: Sequence[GoldenInput], repeats: int, against: str) -> None:
        self.task, self.repeats, self.against = task, repeats, against
        self._inputs = {item.id: item for item in inputs}
        self._scores: dict[str, dict[str, dict[int, float]]] = {}
        planned = {check.part for item in inputs[:1] for check in plan_checks(task, item)}
        part = next((part for part in PARTS if part in planned), None)
        # A judge is asked last: until then its part is open, and nobody can be hopeless in it.
        self._part = None if part == "content" and judge_checks(task) else part

    def score(self, answer: Answer, pattern_timeout: float) -> None:
        """Take in an answer that was not scored yet; one that its server failed to give is none."""
        item = self._inputs.get(answer.input_id)
        if item is not None:
            self.add(answer, score_answer(self.task, item, answer, pattern_timeout))

    def add(self, answer: Answer, scores: Iterable[Score]) -> None:
        """Take in an answer with its scores."""
        values = {score.check_id: score.value for score in scores}
        if self._part is None or not values:
            return
        value = part_score(self.task, self._part, values)
        if value is not None:
            by_input = self._scores.setdefault(answer.candidate, {})
            by_input.setdefault(answer.input_id, {})[answer.repeat] = value

    def forget(self, candidate: str, input_id: str | None = None, repeat: int | None = None) -> None:
        """What was taken in of a candidate counts no more: all of it, or one answer."""
        if input_id is None:
            self._scores.pop(candidate, None)
        elif repeat is not None:
            self._scores.get(candidate, {}).get(input_id, {}).pop(repeat, None)

    def hopeless(self, candidate: str) -> bool:
        """See `hopeless`; never `against` itself."""
        return candidate != self.against and hopeless(
            self._answered(candidate), self._answered(self.against), self._inputs, self.repeats, self.task.margin
        )

    def curtailed(self) -> frozenset[str]:
        """The candidates that were not asked to the end and cannot reach `against` any more."""
        planned = len(self._inputs) * self.repeats
        return frozenset(
            name
            for name, by_input in self._scores.items()
            if sum(map(len, by_input.values())) < planned and self.hopeless(name)
        )

    def _answered(self, candidate: str) -> Answered:
        return {name: list(repeats.values()) for name, repeats in self._scores.get(candidate, {}).items()}


def stopped_candidates(
    inputs: Sequence[GoldenInput], repeats: int, against: str, margin: float, by_candidate: Mapping[str, ScoredAnswers]
) -> frozenset[str]:
    """Who was not asked to the end, as the scores that the bake-off itself made say.

    Whoever was stopped stays so under other checks: what the checks would say of the other answers is not known.
    """
    ids = [item.id for item in inputs]
    answered = {name: _leading(scored) for name, scored in by_candidate.items()}
    if any(scored.judges and not scored.part("format") for scored in by_candidate.values()):
        return frozenset()  # their leading part is a judge's, which is asked last
    return frozenset(
        name
        for name, by_input in answered.items()
        if name != against
        and 0 < sum(map(len, by_input.values())) < len(ids) * repeats
        and hopeless(by_input, answered.get(against, {}), ids, repeats, margin)
    )


def _leading(scored: ScoredAnswers) -> Answered:
    """The scores of the part that leads the task's board."""
    return next((by_input for part in PARTS if (by_input := scored.part(part))), {})
