"""What a served model scores now, held to the scores that its place rests on, input by input."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from core.scoring.answers import Answer
from core.scoring.scored_answers import place
from core.scoring.scorer import PARTS, Part, Scorer, singles
from core.scoring.to_judge import judge_checks
from core.statistics.no_worse import no_worse
from core.statistics.paired import Paired, differences
from core.statistics.verdicts import is_shown

if TYPE_CHECKING:
    from core.config.golden import GoldenInput
    from core.config.task import Task


@dataclass(frozen=True)
class PartChange:
    """One part of the score, now less before: the mean over the inputs that have both, in [−1, 1].

    `low` is its one-sided 95 % lower bound. `is_loss`: a mean loss of at least the margin is shown at 95 %, as "worse" of a
    bake-off is, but one-sided (`p_loss`). `no_worse`: a loss of the margin is ruled out at 95 % (`core.statistics.no_worse`).
    Where both are False, the inputs do not tell. For `low` and `no_worse` an input without an answer now has lost all it had.
    """

    before: float
    now: float
    difference: float
    inputs: int
    p_loss: float
    low: float
    is_loss: bool
    no_worse: bool


@dataclass(frozen=True)
class ScoreChange:
    """All parts that both have, by name. `missing`: inputs with a score before and none now."""

    parts: Mapping[str, PartChange]
    missing: int

    @property
    def lost(self) -> tuple[str, ...]:
        """The parts of which a loss is shown."""
        return tuple(name for name, one in self.parts.items() if one.is_loss)

    def to_json(self) -> dict[str, Any]:
        return {"parts": {name: asdict(one) for name, one in self.parts.items()}, "missing": self.missing}


def scores_by_input(
    task: Task, inputs: Sequence[GoldenInput], answers: Iterable[Answer], pattern_timeout: float
) -> dict[Part, dict[str, float]]:
    """The mean score of each part over the repeats of each input, of one candidate's answers."""
    given = list(answers)
    scorer = Scorer(task, inputs, pattern_timeout)
    scores = singles(found for answer in given if (found := scorer.score(answer)) is not None)
    placed, _ = place(task, inputs, given, scores, ())
    return {part: dict(means) for scored in placed.values() for part in PARTS if (means := scored.means(part))}


def score_change(
    task: Task,
    inputs: Sequence[GoldenInput],
    before: Mapping[str, Mapping[str, float]],
    now: Mapping[Part, Mapping[str, float]],
) -> ScoreChange:
    """The scores of now held to those of before, each by part and input. A part that only one of them has is left out, and so
    is content that a judge has scored."""
    cluster_of = {item.id: item.cluster for item in inputs}
    parts: dict[str, PartChange] = {}
    missing = 0
    for part in PARTS:
        if part == "content" and judge_checks(task):
            continue  # what serves is asked here, and no judge
        former = {name: value for name, value in before.get(part, {}).items() if name in cluster_of}
        present = now.get(part, {})
        unanswered = former.keys() - present.keys()
        missing = max(missing, len(unanswered))
        paired = differences(present, former, cluster_of)
        if paired is not None:
            shared = [name for name in present if name in former]
            least = differences({**present, **dict.fromkeys(sorted(unanswered), 0.0)}, former, cluster_of) or paired
            parts[part] = _change(
                paired,
                least,
                sum(former[name] for name in shared) / len(shared),
                sum(present[name] for name in shared) / len(shared),
                task.margin,
            )
    return ScoreChange(parts, missing)


def _change(paired: Paired, least: Paired, before: float, now: float, margin: float) -> PartChange:
    """`least` are the differences with what is not answered as bad as it can be."""
    p_loss, rule = loss_p(paired), no_worse(least, margin)
    assert rule.low is not None  # there is an input
    return PartChange(
        before=before,
        now=now,
        difference=paired.mean,
        inputs=paired.inputs,
        p_loss=p_loss,
        low=rule.low,
        is_loss=paired.mean < 0 and is_shown(paired.mean, p_loss, margin),
        no_worse=rule.outcome == "pass",
    )


def loss_p(paired: Paired) -> float:
    """One-sided p of "no loss": half of the two-sided sign-flip test, which is symmetric; 1 where nothing was lost.

    Exact for up to 20 clusters, and never below 2⁻ⁿ: five inputs at least show a loss at 5 %.
    """
    if paired.mean >= 0:
        return 1.0
    import numpy as np

    from core.statistics.permutation import flip_test

    return flip_test(np.array([list(paired.sums.values())])).p[0] / 2
