"""The rows of a forest plot: what each arm's score differs from the leader's, with its interval. Drawn by commands, console
and reports alike."""

from __future__ import annotations

from dataclasses import dataclass, replace

from core.experiments.answer import TaskAnswer
from core.scoring.scorer import Part
from core.statistics.paired import Interval
from core.statistics.recipe_effect import Effect


@dataclass(frozen=True)
class ForestRow:
    """An arm less the leader, by the arm's key. `worse`: shown to be so. The leader's own row has no effect."""

    arm: str
    effect: Effect | None
    worse: bool


def forest_rows(answer: TaskAnswer, part: Part) -> tuple[ForestRow, ...]:
    """The arms in the order of the ranking, the leader first; those that share nothing with it are left out."""
    leader = answer.leader
    if leader is None:
        return ()
    rows = [ForestRow(leader, None, False)]
    for key in answer.ranking.order:
        pair = None if key == leader else answer.ranking.pair(part, key, leader)
        if pair is not None:
            effect = pair.effect if pair.ours == key else turned(pair.effect)
            rows.append(ForestRow(key, effect, pair.winner == leader))
    return tuple(rows)


def turned(effect: Effect) -> Effect:
    """The same difference the other way round."""
    low, high = effect.interval.low, effect.interval.high
    interval = effect.interval if low is None or high is None else Interval(-high, -low)
    mean = None if effect.mean is None else -effect.mean
    return replace(effect, mean=mean, interval=interval, seeds=(effect.seeds[1], effect.seeds[0]))


def extent(rows: tuple[ForestRow, ...]) -> tuple[float, float]:
    """The least range that holds zero and all that is drawn."""
    ends = [0.0]
    for row in rows:
        if row.effect is not None and row.effect.mean is not None:
            ends += [row.effect.mean]
            ends += [end for end in (row.effect.interval.low, row.effect.interval.high) if end is not None]
    low, high = max(-1.0, min(ends)), min(1.0, max(ends))
    return (low, high) if high > low else (low - 0.1, high + 0.1)


def drawn(row: ForestRow, low: float, high: float, width: int) -> str:
    """A row of text: `├──●──┤` over `│`, the line of no difference; `width` columns for `low` to `high`."""
    signs = [" "] * max(1, width)
    signs[_column(0.0, low, high, width)] = "│"
    effect = row.effect
    if effect is None or effect.mean is None:
        if effect is None:
            signs[_column(0.0, low, high, width)] = "◆"
        return "".join(signs)
    if effect.interval.low is not None and effect.interval.high is not None:
        left, right = (_column(end, low, high, width) for end in (effect.interval.low, effect.interval.high))
        for place in range(left, right + 1):
            signs[place] = "┼" if signs[place] == "│" else "─"
        signs[left], signs[right] = "├", "┤"
    signs[_column(effect.mean, low, high, width)] = "●"
    return "".join(signs)


def _column(value: float, low: float, high: float, width: int) -> int:
    share = (min(high, max(low, value)) - low) / (high - low)
    return min(width - 1, max(0, round(share * (width - 1))))
