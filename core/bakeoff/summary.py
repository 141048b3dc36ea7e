"""The figures of a leaderboard in words: its headline, and notes on what they can't tell."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from core.bakeoff.figures import bounds, count, p_value, signed
from core.bakeoff.leaderboard import Headline, Leaderboard
from core.bakeoff.rows import CandidateRow
from core.format import of_five
from core.scoring.scorer import Part
from core.scoring.to_judge import judge_checks
from core.statistics.comparison import RESOLVE
from core.statistics.paired import ALPHA
from core.statistics.permutation import clusters_to_show, least_p
from core.statistics.selection import Selection

if TYPE_CHECKING:
    from core.config.task import Task

# Among equals, a candidate that is so many times as fast is worth a word.
_FASTER = 1.2
# A limit so many times the longest whole answer cuts only what rambles.
_ROOM = 1.5


def headline(board: Leaderboard) -> Headline:
    """The best against the incumbent, or that against its best challenger, on the leading part."""
    best, incumbent, inputs = board.best, board.incumbent, len(board.input_ids)
    if best is None or not board.parts:
        return Headline(
            "No scored answers yet." if board.parts else "The task has no checks: there is nothing to compare."
        )
    leading = board.parts[0]
    # With two parts a figure alone would read as the whole score: 5.00/5 in format can be wrong in every answer.
    of_part = f" in {leading}" if len(board.parts) > 1 else ""
    asked = f"{count(inputs, 'input')} × {board.repeats}"
    compared = {one.candidate: one for one in board.comparisons if one.part == leading}
    other = best if best != incumbent else next(iter(compared), None)
    if other is None or other not in compared or incumbent is None:
        row = board.row(best)
        score = f"{best} {of_five(row.score_of(leading))}{of_part} {bounds(row.interval_of(leading))}"
        return Headline(score, evidence=asked)
    one = compared[other]
    scores = _scores_over_shared(board.row(other), board.row(incumbent), leading)
    theirs, held = (f"{name} {of_five(score)}" for name, score in zip((other, incumbent), scores, strict=True))
    if one.inputs != inputs:
        asked = f"{one.inputs} of {count(inputs, 'input')} × {board.repeats}"
    words = {
        "better": f"{theirs} over {held}",
        "worse": f"{theirs} below {held}",
        "no_worse": f"{theirs}, no worse than {held}",
        # A difference below the margin may well be shown.
        "tied": f"{theirs}, no difference{f' of {of_five(board.margin)}' * (one.p_adjusted <= ALPHA)} shown from {held}",
    }
    difference = f"{signed(one.difference)} {bounds(one.interval)}"
    return Headline(words[one.verdict] + of_part, difference, f"p {p_value(one.p_adjusted)}, {asked}")


def _scores_over_shared(ours: CandidateRow, theirs: CandidateRow, part: Part) -> tuple[float, float]:
    """The scores of two candidates over the inputs that both answered, at least one: what their difference is of."""
    cells = [(one.part(part), other.part(part)) for one, other in zip(ours.inputs, theirs.inputs, strict=True)]
    shared = [(one.mean, other.mean) for one, other in cells if one is not None and other is not None]
    return fmean(one for one, _ in shared), fmean(other for _, other in shared)


def notes(
    board: Leaderboard, task: Task, *, unscored: Mapping[str, int], strangers: int, disagreements: int = 0
) -> Iterator[str]:
    """What a reader must know before believing the figures, the gravest first.

    `unscored` counts the answers of a candidate that the present checks have not scored, `strangers` those to inputs that the
    golden set does not have, `disagreements` the inputs that marking chose because two candidates disagreed.
    """
    rows = board.rows
    yield from _curtailed(rows)
    yield from _missing([row for row in rows if not row.curtailed], unscored, strangers)
    yield from _power(len(board.input_ids), board.clusters, len(rows))
    yield from _tie(board)
    yield from _selected(board.selection)
    yield from _chosen(disagreements, len(board.input_ids))
    yield from _limits(task, rows)
    yield from _unjudged(rows)
    yield from _faulty(rows, {name for name, _ in judge_checks(task)})
    yield from _repeats(task, board.repeats)


def _curtailed(rows: Sequence[CandidateRow]) -> Iterator[str]:
    stopped = [f"{row.name} after {row.answers} of {count(row.expected, 'answer')}" for row in rows if row.curtailed]
    if stopped:
        yield f"Stopped, as the incumbent was out of reach: {', '.join(stopped)}. In no comparison and in no tied set."


def _chosen(disagreements: int, inputs: int) -> Iterator[str]:
    """What inputs that were chosen for a disagreement do to scores and differences."""
    if disagreements:
        yield (
            f"{disagreements} of {count(inputs, 'input')} were chosen because two candidates disagreed: those two differ more "
            "there than in production, and score lower beside a third one."
        )


def _selected(selection: Selection | None) -> Iterator[str]:
    """What the choice among several candidates does to the figures of the chosen one."""
    if selection is None or selection.among < 3:
        return
    if selection.same_inputs and selection.lead == 0:
        return  # the incumbent itself: nobody leads it
    best = f"{selection.chosen} is the best of {selection.among}"
    if selection.same_inputs and selection.optimism is not None:
        luck = of_five(selection.optimism)
        yield f"{best}, same inputs: the best of so many equal candidates leads the incumbent by {luck} on average, by luck."
    elif not selection.same_inputs:
        words = f"{best} on the {count(selection.choose_inputs, 'input')} to choose by"
        if selection.confirmed:
            one = selection.confirmed[0]
            words += f" ({signed(selection.lead or 0.0)}). On the {count(one.inputs, 'input')} to confirm by, it differs from "
            words += f"{one.against} by {signed(one.difference)} {bounds(one.interval)}, p {p_value(one.p)}"
        elif selection.lead:
            words += (
                f" ({signed(selection.lead)}). It can't be confirmed: on no input to confirm by have both an answer"
            )
        yield f"{words}."


def _missing(rows: Sequence[CandidateRow], unscored: Mapping[str, int], strangers: int) -> Iterator[str]:
    alike: dict[str, list[str]] = {}
    for row in rows:
        if row.missing:
            old = unscored.get(row.name)
            rest = f" ({old} of them not scored by the checks as they are now)" if old else ""
            what = "compared over what is there" if row.answers else "in no comparison"
            if not row.answers and row.incumbent and len(rows) > 1:
                what = "nobody is compared with the incumbent"
            missing = f"{row.missing} of {count(row.expected, 'answer')} missing{rest}; {what}."
            alike.setdefault(missing, []).append(row.name)
    for missing, names in alike.items():
        who = "Each candidate" if len(names) == len(rows) > 1 else ", ".join(names)
        yield f"{who}: {missing}"
    if strangers:
        yield f"{count(strangers, 'answer')} left out: the golden set has no such input."


def _power(inputs: int, clusters: int, candidates: int) -> Iterator[str]:
    if 0 < clusters < inputs:
        yield f"{inputs} inputs come from {count(clusters, 'source')}: they count as {clusters}."
    if candidates > 1 and 0 < clusters < (enough := clusters_to_show()):
        what = "1 input" if clusters == 1 else f"{clusters} inputs"
        yield (
            f"{what} can never reach p {ALPHA}: the least possible is {p_value(least_p(clusters))}. "
            f"Add {enough - clusters} for a least p of {p_value(least_p(enough))}."
        )


def _tie(board: Leaderboard) -> Iterator[str]:
    tied = board.tied_set
    if len(tied) < 2:
        return
    named = f"{', '.join(tied[:-1])} and {tied[-1]}"
    close = [one for one in board.ties if one.candidate in tied and one.against in tied and one.part == board.parts[0]]
    shown = [one.minimum_detectable for one in close if one.minimum_detectable is not None]
    words = f"Tied set: {named}. No difference of at least {of_five(board.margin)} is shown"
    if shown and max(shown) <= 1:
        words += f"; so many inputs can show {of_five(max(shown))}"
    elif shown:
        words += "; so few inputs can't be relied on to show any"
    more = max((one.add_inputs for one in close if one.add_inputs is not None), default=0)
    words += f"; add {count(more, 'input')} to resolve {of_five(RESOLVE)}." if more else "."
    yield words
    timed = [(row.seconds_per_answer, row.name) for row in board.rows if row.name in tied and row.seconds_per_answer]
    if len(timed) > 1 and max(timed)[0] >= _FASTER * min(timed)[0]:
        (fast, faster), (slow, slower) = min(timed), max(timed)
        yield f"Prefer {faster}: {slow / fast:.1f} times as fast as {slower}, its equal."


def _limits(task: Task, rows: Sequence[CandidateRow]) -> Iterator[str]:
    limit = task.sampling.max_new_tokens
    for row in rows:
        if row.at_limit:
            reached = f"{row.at_limit} of {count(row.answers, 'answer')} reached max_new_tokens ({limit:,})"
            yield f"{row.name}: {reached} and were cut: score 0. {_whether_fair(limit, row, rows)}"
        for fault, words in (("empty", "empty"), ("thinking", "with thinking in it")):
            if row.faults.get(fault):
                yield f"{row.name}: {row.faults[fault]} of {count(row.answers, 'answer')} {words}: score 0."
        if row.thinking_aloud:
            yield (
                f"{row.name}: {row.thinking_aloud} of {count(row.answers, 'answer')} may hold thinking; no tags mark it,"
                " so that it was scored as part of the answer."
            )


def _whether_fair(limit: int, cut: CandidateRow, rows: Sequence[CandidateRow]) -> str:
    """How the limit stands to the longest answer that another candidate ended by itself."""
    whole = [(row.longest_whole, row.name) for row in rows if row is not cut and row.longest_whole]
    if not whole:
        return "No other candidate shows how long a whole answer is: if these were not rambling, raise the limit."
    tokens, name = max(whole)
    room = f"The limit is {limit / tokens:.1f} × the longest whole answer of {name} ({count(tokens, 'token')})"
    if limit >= _ROOM * tokens:
        return f"{room}: enough for a whole answer."
    return f"{room}, which leaves little room: raise the limit and ask again."


def _unjudged(rows: Sequence[CandidateRow]) -> Iterator[str]:
    """Answers without a verdict: what a judge did not say is no 0."""
    for row in rows:
        if row.unjudged:
            without = f"{row.unjudged} of {count(row.answers, 'answer')} not judged"
            rest = "their content is unknown, and left out" if row.content_score is not None else "no content is known"
            yield f"{row.name}: {without}; {rest}."


def _faulty(rows: Sequence[CandidateRow], by_judge: Collection[str]) -> Iterator[str]:
    faulty: dict[str, int] = {}
    for row in rows:
        for check in row.checks:
            if check.faulty and check.id not in by_judge:
                faulty[check.id] = faulty.get(check.id, 0) + check.faulty
    for name, number in faulty.items():
        yield f"The check {name} could not be done on {count(number, 'answer')}, which score 0 there: see why."


def _repeats(task: Task, repeats: int) -> Iterator[str]:
    if repeats == 1:
        yield "One repeat: nothing is known of consistency."
    elif task.sampling.temperature == 0:
        yield "At temperature 0 the repeats are one answer again: their agreement says nothing of consistency."
