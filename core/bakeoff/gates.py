"""Conditions that a script holds a candidate to: a least score, or no worse than a baseline. The answer has three values.

What can't be told is not met. All conditions must hold, so they need no correction among themselves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from core.bakeoff.input_cells import InputCell
from core.bakeoff.leaderboard import Leaderboard
from core.scoring.scorer import Part
from core.statistics.paired import ALPHA, ROUNDING, Interval, Paired, clusters_needed, t_interval

Outcome = Literal["met", "not_met", "cannot_tell"]
MOST_INPUTS = 1_000_000


@dataclass(frozen=True)
class GateResult:
    """One condition on one part of one task. Scores and differences are in [0, 1] and [−1, 1].

    `wanted` is the least score, or minus the margin of the task. `found` is the score or the mean difference over what is
    there, `interval` that of the difference. `missing` counts answers that are not there: the condition is met only where it
    would be, whatever they were. `inputs_needed` is about how many inputs could tell, where more can.
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

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def fail_under(board: Leaderboard, candidate: str, least: float, part: Part) -> GateResult:
    """Whether a candidate's score reaches `least` (0..1). KeyError for a candidate that is not on the board."""
    row = board.row(candidate)
    low, high = _bounds(row.inputs, part)
    found = row.score_of(part)
    outcome: Outcome = "cannot_tell"
    if low is not None and low >= least - ROUNDING:
        outcome = "met"
    elif high is not None and high < least - ROUNDING:
        outcome = "not_met"
    return GateResult(
        "fail_under", board.task, part, candidate, outcome, least, found, inputs=len(row.inputs), missing=row.missing
    )


def no_worse_than(
    board: Leaderboard, candidate: str, baseline: str, part: Part, cluster_of: Mapping[str, str]
) -> GateResult:
    """Whether a candidate is no worse than a baseline by the task's margin or more: the lower end of the 95 % interval of the
    paired difference is above minus the margin. KeyError for a name that is not on the board."""
    ours, theirs = board.row(candidate), board.row(baseline)
    observed = _paired(board.input_ids, ours.inputs, theirs.inputs, part, cluster_of)
    missing = ours.missing + theirs.missing
    margin = board.margin

    def result(outcome: Outcome, needed: int | None = None) -> GateResult:
        found = None if observed is None else observed.mean
        interval = None if observed is None else t_interval(observed)
        of_inputs = 0 if observed is None else observed.inputs
        return GateResult(
            "no_worse_than",
            board.task,
            part,
            candidate,
            outcome,
            -margin,
            found,
            baseline,
            interval,
            of_inputs,
            missing,
            needed,
        )

    # Whatever the missing answers were: never better than full for us, never worse than nothing for the baseline.
    best, worst = _bounds(ours.inputs, part)[1], _bounds(theirs.inputs, part)[0]
    if missing and best is not None and worst is not None and best - worst < -margin:
        return result("not_met")
    if observed is None:
        return result("cannot_tell")
    said, needed = _no_worse(observed, margin)
    if missing and said == "met":
        filled = _paired(board.input_ids, ours.inputs, theirs.inputs, part, cluster_of, filled=True)
        said = "met" if filled is not None and _no_worse(filled, margin)[0] == "met" else "cannot_tell"
    return result(said, needed)


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
