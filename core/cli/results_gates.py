"""`--fail-under` and `--no-worse-than`: which candidate is held to what, and the words for what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from core.bakeoff.figures import bounds, count, signed
from core.bakeoff.gates import GateResult, fail_under, no_worse_than
from core.bakeoff.leaderboard import Leaderboard
from core.errors import NotFoundError
from core.format import SCORE_SCALE, of_five, score_figure
from core.scoring.scorer import Part
from core.text import printable

SIGNS = {"met": "✓", "not_met": "✗", "cannot_tell": "?"}


def check_gates(
    boards: Iterable[Leaderboard],
    *,
    least: float | None,
    baseline: str | None,
    candidate: str | None,
    part: Part | None,
) -> list[GateResult]:
    """Each condition on each part of each task. `least` is on the scale of five.

    Raises `NotFoundError` for a name that is not on a board, `UsageError` where it is not clear which candidate is meant.
    """
    found: list[GateResult] = []
    for board in boards:
        names = [row.name for row in board.rows]
        for named in (candidate, baseline):
            if named is not None and named not in names:
                message = f"no candidate `{named}` at {board.task}"
                raise NotFoundError(message, code="no_candidate", remedy=f"there are: {', '.join(names)}")
        parts = [one for one in board.parts if part in {None, one}]
        if least is not None and names:
            chosen = candidate or board.best or names[0]
            found += [fail_under(board, chosen, least / SCORE_SCALE, one) for one in parts]
        if baseline is not None:
            chosen = candidate or challenger(names, baseline)
            found += [no_worse_than(board, chosen, baseline, one, board.cluster_of) for one in parts]
    return found


def challenger(names: Sequence[str], baseline: str) -> str:
    """The candidate that is not the baseline, where there is but one."""
    others = [name for name in names if name != baseline]
    if len(others) != 1:
        raise click.UsageError(
            f"which candidate is to be no worse than `{baseline}`? Name one with --candidate: {', '.join(others)}"
        )
    return others[0]


def gate_words(one: GateResult) -> str:
    """`✓ judge, format: tuned 4.83/5, at least 4.50 wanted`."""
    where = f"{SIGNS[one.outcome]} {printable(one.task)}, {one.part}: {printable(one.candidate)}"
    missing = f"; {count(one.missing, 'answer')} missing" if one.missing else ""
    if one.gate == "fail_under":
        said = f"{where} {of_five(one.found)}, at least {score_figure(one.wanted)} wanted"
        return f"{said}: cannot tell{missing}" if one.outcome == "cannot_tell" else f"{said}{missing}"
    margin = score_figure(-one.wanted)
    words = {
        "met": f"no worse than {one.baseline} by {margin}",
        "not_met": f"worse than {one.baseline} by more than {margin}",
        "cannot_tell": f"cannot tell whether it is worse than {one.baseline} by {margin}",
    }
    said = f"{where} {words[one.outcome]}"
    if one.found is not None:
        interval = f" {bounds(one.interval)}" if one.interval is not None and one.interval.estimable else ""
        said += f": {signed(one.found)}{interval} over {count(one.inputs, 'input')}"
    if one.outcome == "cannot_tell" and one.inputs_needed is not None:
        said += f"; it needs about {count(one.inputs_needed, 'input')} (n counts sources)"
    return printable(said + missing)
