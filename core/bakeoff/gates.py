"""Conditions that a script holds a candidate to: a least score, or no worse than a baseline. The answer has three values.

What can't be told is not met. All conditions must hold, so they need no correction among themselves. Where inputs are kept to
confirm by, a condition rests on those alone: what was chosen by the others looks better on them than it is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from core.bakeoff.input_cells import InputCell
from core.bakeoff.leaderboard import Leaderboard, scores_of_board
from core.bakeoff.rows import score_interval
from core.scoring.scorer import Part
from core.statistics.no_worse import NoWorse, NoWorseOutcome, no_worse
from core.statistics.paired import ROUNDING, Interval, Paired

Outcome = Literal["met", "not_met", "cannot_tell"]
Use = Literal["all", "confirm"]
_WORDS: Mapping[NoWorseOutcome, Outcome] = {"pass": "met", "fail": "not_met", "cannot_tell": "cannot_tell"}


@dataclass(frozen=True)
class GateResult:
    """One condition on one part of one task. Scores and differences are in [0, 1] and [−1, 1].

    `wanted` is the least score, or minus the margin of the task. `use` says which inputs the condition rests on: those that are
    kept to confirm by, or all, where none are kept apart. `found` is the score or the mean difference over `inputs` of them,
    those with answers. Of a score, `interval` is its 95 % interval, which is about other inputs like these; of a difference,
    `low` and `high` are its one-sided 95 % bounds, and `could_differ` is the share of other inputs that may differ where none
    of these did. `missing` counts answers that are not there, or not judged (`unjudged` of them): the condition is met only
    where it would be, whatever they were. `inputs_needed` is about how many inputs (n counts sources) could tell, where more
    can. `chosen_among` is of how many candidates this one was taken as the best; 0: it was named.
    """

    gate: Literal["fail_under", "no_worse_than"]
    task: str
    part: Part
    candidate: str
    outcome: Outcome
    wanted: float
    found: float | None
    baseline: str | None = None
    interval: Interval | None = None
    low: float | None = None
    high: float | None = None
    inputs: int = 0
    missing: int = 0
    unjudged: int = 0
    inputs_needed: int | None = None
    could_differ: float | None = None
    use: Use = "all"
    chosen_among: int = 0

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def use_of(board: Leaderboard) -> Use:
    """Which inputs conditions rest on. Where all are to confirm by, none is kept apart from a choice."""
    return "confirm" if 0 < len(board.confirming) < len(board.input_ids) else "all"


def best_to_hold(board: Leaderboard) -> str | None:
    """The best candidate, by the inputs that are to choose by where others are kept; None without scores."""
    if use_of(board) == "all":
        return board.best
    if board.selection is not None:
        return board.selection.chosen
    # Without an incumbent that has answers nothing was selected: the highest mean.
    choosing = [name for name in board.input_ids if name not in board.confirming]
    scores = [one.only(choosing) for one in scores_of_board(board).values()]
    ranked = sorted(scores, key=lambda one: one.rank(board.parts), reverse=True)
    return ranked[0].candidate if ranked and board.parts and ranked[0].means(board.parts[0]) else None


def fail_under(board: Leaderboard, candidate: str, least: float, part: Part, chosen_among: int = 0) -> GateResult:
    """Whether a candidate's score reaches `least` (0..1). KeyError for a candidate that is not on the board."""
    names, (cells,) = _held(board, candidate)
    low, high = _bounds(cells, part)
    means = {name: scores.mean for name, cell in zip(names, cells, strict=True) if (scores := cell.part(part))}
    outcome: Outcome = "cannot_tell"
    if low is not None and low >= least - ROUNDING:
        outcome = "met"
    elif high is not None and high < least - ROUNDING:
        outcome = "not_met"
    return GateResult(
        gate="fail_under",
        task=board.task,
        part=part,
        candidate=candidate,
        outcome=outcome,
        wanted=least,
        found=math.fsum(means.values()) / len(means) if means else None,
        interval=score_interval(means, board.cluster_of),
        inputs=len(means),
        missing=sum(cell.open(part) for cell in cells),
        unjudged=sum(cell.open(part) - cell.missing for cell in cells),
        use=use_of(board),
        chosen_among=chosen_among,
    )


def no_worse_than(board: Leaderboard, candidate: str, baseline: str, part: Part) -> GateResult:
    """Whether a candidate is no worse than a baseline by the task's margin or more, by the one rule for it
    (`core.statistics.no_worse`). KeyError for a name that is not on the board."""
    found = judged(board, candidate, baseline, part)
    _, (ours, theirs) = _held(board, candidate, baseline)
    return GateResult(
        gate="no_worse_than",
        task=board.task,
        part=part,
        candidate=candidate,
        outcome=_WORDS[found.outcome],
        wanted=-board.margin,
        found=found.difference,
        baseline=baseline,
        low=found.low,
        high=found.high,
        inputs=found.inputs,
        missing=sum(cell.open(part) for cell in (*ours, *theirs)),
        unjudged=sum(cell.open(part) - cell.missing for cell in (*ours, *theirs)),
        inputs_needed=found.needed,
        could_differ=found.could_differ,
        use=use_of(board),
    )


def judged(board: Leaderboard, candidate: str, baseline: str, part: Part) -> NoWorse:
    """What the inputs that conditions rest on say of "no worse". KeyError for a name that is not on the board.

    Answers that are missing are first taken to be as bad as they can be for the candidate, then as good.
    """
    names, (ours, theirs) = _held(board, candidate, baseline)
    clusters = tuple(board.cluster_of[name] for name in names)
    missing = sum(bool(one.open(part) or other.open(part)) for one, other in zip(ours, theirs, strict=True))

    def filled(our: float, their: float) -> Paired | None:
        pairs = zip(ours, theirs, strict=True)
        return (
            Paired(tuple(_filled(one, part, our) - _filled(other, part, their) for one, other in pairs), clusters)
            if missing
            else None
        )

    known: list[tuple[float, str]] = []
    for one, other, cluster in zip(ours, theirs, clusters, strict=True):
        first, second = one.part(part), other.part(part)
        if first is not None and second is not None:
            known.append((first.mean - second.mean, cluster))
    paired = Paired(*map(tuple, zip(*known, strict=True))) if known else None
    return no_worse(paired, board.margin, least=filled(0.0, 1.0), most=filled(1.0, 0.0), missing=missing)


def _held(board: Leaderboard, *candidates: str) -> tuple[list[str], list[list[InputCell]]]:
    """The inputs that conditions rest on, and their cells for each of the candidates. KeyError for an unknown one."""
    kept = set(board.confirming if use_of(board) == "confirm" else board.input_ids)
    places = [index for index, name in enumerate(board.input_ids) if name in kept]
    cells = [[board.row(name).inputs[index] for index in places] for name in candidates]
    return [board.input_ids[index] for index in places], cells


def _bounds(cells: Sequence[InputCell], part: Part) -> tuple[float | None, float | None]:
    """The least and the most that the mean over the inputs can be, whatever the missing answers were."""
    if not cells or not any(cell.part(part) for cell in cells):
        return None, None
    low, high = ([_filled(cell, part, value) for cell in cells] for value in (0.0, 1.0))
    return math.fsum(low) / len(cells), math.fsum(high) / len(cells)


def _filled(cell: InputCell, part: Part, value: float) -> float:
    """The mean of an input with `value` for each answer that is missing."""
    scores = cell.part(part)
    answers = cell.scored(part) if scores is not None else 0
    known = 0.0 if scores is None else scores.mean * answers
    wanted = cell.answers + cell.missing
    return (known + value * (wanted - answers)) / wanted if wanted else value
