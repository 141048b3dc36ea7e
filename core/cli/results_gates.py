"""`--fail-under` and `--no-worse-than`: which candidate is held to what, and the words for what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import click

from core.bakeoff.figures import bounds, count, signed
from core.bakeoff.gates import GateResult, best_to_hold, fail_under, no_worse_than
from core.bakeoff.leaderboard import Leaderboard
from core.errors import NotFoundError
from core.format import SCORE_SCALE, listed, of_five, score_figure, share
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
            chosen = candidate or best_to_hold(board) or names[0]
            among = 0 if candidate is not None else len(names) - len(board.curtailed)
            found += [fail_under(board, chosen, least / SCORE_SCALE, one, among) for one in parts]
        if baseline is not None:
            chosen = candidate or challenger(names, baseline)
            if chosen == baseline:
                raise click.UsageError(f"`{baseline}` is the baseline: name another candidate with --candidate")
            found += [no_worse_than(board, chosen, baseline, one) for one in parts]
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
    """`✓ judge, format: tuned has 4.83/5 [4.61, 5.00] over 12 inputs, at least 4.50 wanted`."""
    where = f"{SIGNS[one.outcome]} {printable(one.task)}, {one.part}: {printable(one.candidate)}"
    unjudged = f", {one.unjudged} of them not judged" if one.unjudged else ""
    missing = f"; {count(one.missing, 'answer')} missing{unjudged}" if one.missing else ""
    interval = f" {bounds(one.interval)}" if one.interval is not None and one.interval.estimable else ""
    over = f" over {count(one.inputs, 'input')}{' to confirm by' if one.use == 'confirm' else ''}"
    if one.gate == "fail_under":
        found = of_five(one.found) + (f"{interval}{over}" if one.found is not None else "")
        said = f"{where} has {found}, at least {score_figure(one.wanted)} wanted"
        return printable(f"{said}: cannot tell{missing}" if one.outcome == "cannot_tell" else f"{said}{missing}")
    margin = score_figure(-one.wanted)
    words = {
        "met": f" is not worse than {one.baseline} by {margin} (the margin) or more",
        "not_met": f" is worse than {one.baseline} by more than {margin} (the margin)",
        "cannot_tell": f": cannot tell whether it is worse than {one.baseline} by {margin} (the margin) or more",
    }
    said = f"{where}{words[one.outcome]}"
    if one.could_differ is not None:
        said += f": none seen{over}; up to {share(one.could_differ)} could differ"
    elif one.found is not None:
        bound = one.high if one.outcome == "not_met" else one.low
        side = "at most" if one.outcome == "not_met" else "at least"
        said += f": {signed(one.found)}, {side} {signed(bound or 0.0)} (95 %, one-sided){over}"
    if one.outcome == "cannot_tell" and one.inputs_needed is not None:
        said += f"; it needs about {count(one.inputs_needed, 'input')} (n counts sources)"
    return printable(said + missing)


def gate_notes(found: Sequence[GateResult]) -> list[str]:
    """Which inputs the conditions rest on, and what they cannot tell."""
    notes = []
    kept = list(dict.fromkeys(one.task for one in found if one.use == "confirm"))
    every = list(dict.fromkeys(one.task for one in found if one.use == "all"))
    if kept:
        at = f"At {listed(kept)} the" if every else "The"
        chosen = any(one.use == "confirm" and one.chosen_among > 1 for one in found)
        by_others = "; the best candidate was chosen by the others" if chosen else ""
        notes.append(f"{at} conditions rest on the inputs to confirm by alone{by_others}.")
    if every:
        at = f"At {listed(every)} the" if kept else "The"
        among = max((one.chosen_among for one in found if one.use == "all"), default=0)
        who = (
            f"the best of {among} was chosen by the same inputs, and"
            if among > 1
            else "a candidate that was chosen by them"
        )
        notes.append(
            f"{at} conditions rest on all inputs, as none is kept apart to confirm by: {who} looks better than it is."
        )
    if any(one.gate == "fail_under" for one in found):
        notes.append(
            "A score is that of these inputs; where it may lie for others like them is in the brackets (95 %)."
        )
    return [printable(note) for note in notes]
