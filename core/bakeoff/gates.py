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
from core.statistics.paired import ALPHA, ROUNDING, Interval, Paired, clusters_needed, t_interval

Outcome = Literal["met", "not_met", "cannot_tell"]
Use = Literal["all", "confirm"]
MOST_INPUTS = 1_000_000


@dataclass(frozen=True)
class GateResult:
    """One condition on one part of one task. Scores and differences are in [0, 1] and [−1, 1].

    `wanted` is the least score, or minus the margin of the task. `use` says which inputs the condition rests on: those that are
    kept to confirm by, or all, where none are kept apart. `found` is the score or the mean difference over `inputs` of them,
    those with answers; `interval` its 95 % interval, which is about other inputs like these. `missing` counts answers that are
    not there: the condition is met only where it would be, whatever they were. `inputs_needed` is about how many inputs could
    tell, where more can. `chosen_among` is of how many candidates this one was taken as the best; 0: it was named.
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
    inputs: int = 0
    missing: int = 0
    inputs_needed: int | None = None
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
        missing=sum(cell.missing for cell in cells),
        use=use_of(board),
        chosen_among=chosen_among,
    )


def no_worse_than(board: Leaderboard, candidate: str, baseline: str, part: Part) -> GateResult:
    """Whether a candidate is no worse than a baseline by the task's margin or more: the lower end of the 95 % interval of the
    paired difference is above minus the margin. KeyError for a name that is not on the board."""
    names, (ours, theirs) = _held(board, candidate, baseline)
    observed = _paired(names, ours, theirs, part, board.cluster_of)
    missing = sum(cell.missing for cell in (*ours, *theirs))
    margin = board.margin

    def result(outcome: Outcome, needed: int | None = None) -> GateResult:
        return GateResult(
            gate="no_worse_than",
            task=board.task,
            part=part,
            candidate=candidate,
            outcome=outcome,
            wanted=-margin,
            found=None if observed is None else observed.mean,
            baseline=baseline,
            interval=None if observed is None else t_interval(observed),
            inputs=0 if observed is None else observed.inputs,
            missing=missing,
            inputs_needed=needed,
            use=use_of(board),
        )

    # Whatever the missing answers were: never better than full for us, never worse than nothing for the baseline.
    best, worst = _bounds(ours, part)[1], _bounds(theirs, part)[0]
    if missing and best is not None and worst is not None and best - worst < -margin:
        return result("not_met")
    if observed is None:
        return result("cannot_tell")
    said, needed = _no_worse(observed, margin)
    if missing and said == "met":
        filled = _paired(names, ours, theirs, part, board.cluster_of, filled=True)
        said = "met" if filled is not None and _no_worse(filled, margin)[0] == "met" else "cannot_tell"
    return result(said, needed)


def _held(board: Leaderboard, *candidates: str) -> tuple[list[str], list[list[InputCell]]]:
    """The inputs that conditions rest on, and their cells for each of the candidates. KeyError for an unknown one."""
    kept = set(board.confirming if use_of(board) == "confirm" else board.input_ids)
    places = [index for index, name in enumerate(board.input_ids) if name in kept]
    cells = [[board.row(name).inputs[index] for index in places] for name in candidates]
    return [board.input_ids[index] for index in places], cells


def _no_worse(paired: Paired, margin: float) -> tuple[Outcome, int | None]:
    """What a paired difference says, and about how many inputs would tell where it does not."""
    interval = t_interval(paired)
    mean = paired.mean
    if interval.low is None or interval.high is None:
        if paired.n < 2:
            return "cannot_tell", None
        # All inputs say the same: at most this share of others could differ, and these could lose (or win) everything.
        other = 1 - ALPHA ** (1 / paired.n)
        low, high = mean * (1 - other) - other, mean * (1 - other) + other
        share = (margin + mean) / (1 + mean) if mean > -1 else 0.0
        needed = math.ceil(math.log(ALPHA) / math.log(1 - share)) if 0 < share < 1 else None
    else:
        low, high = interval.low, interval.high
        needed = clusters_needed(paired.deviation, margin + mean)
    if low > -margin:
        return "met", None
    if high < -margin:
        return "not_met", None
    return "cannot_tell", needed if needed is not None and paired.n < needed <= MOST_INPUTS else None


def _bounds(cells: Sequence[InputCell], part: Part) -> tuple[float | None, float | None]:
    """The least and the most that the mean over the inputs can be, whatever the missing answers were."""
    if not cells or not any(cell.part(part) for cell in cells):
        return None, None
    low, high = ([_filled(cell, part, value) for cell in cells] for value in (0.0, 1.0))
    return math.fsum(low) / len(cells), math.fsum(high) / len(cells)


def _filled(cell: InputCell, part: Part, value: float) -> float:
    """The mean of an input with `value` for each answer that is missing."""
    scores = cell.part(part)
    known = 0.0 if scores is None else scores.mean * cell.answers
    answers = cell.answers if scores is not None else 0
    wanted = cell.answers + cell.missing
    return (known + value * (wanted - answers)) / wanted if wanted else value


def _paired(
    input_ids: Sequence[str],
    ours: Sequence[InputCell],
    theirs: Sequence[InputCell],
    part: Part,
    cluster_of: Mapping[str, str],
    *,
    filled: bool = False,
) -> Paired | None:
    """The differences by input over what both answered; `filled`: over all, with the missing answers against us."""
    values: list[float] = []
    clusters: list[str] = []
    for input_id, one, other in zip(input_ids, ours, theirs, strict=True):
        first, second = one.part(part), other.part(part)
        if filled:
            values.append(_filled(one, part, 0.0) - _filled(other, part, 1.0))
        elif first is None or second is None:
            continue
        else:
            values.append(first.mean - second.mean)
        clusters.append(cluster_of[input_id])
    return Paired(tuple(values), tuple(clusters)) if values else None
