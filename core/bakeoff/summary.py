"""The figures of a leaderboard in words: its headline, and notes on what they can't tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.bakeoff.rows import CandidateRow
from core.format import of_five
from core.scoring.scorer import Part
from core.statistics.comparison import RESOLVE, Comparison
from core.statistics.paired import ALPHA, Interval
from core.statistics.selection import Selection

if TYPE_CHECKING:
    from core.config.task import Task

MINUS = "−"
DASH = "—"
# Among equals, a candidate that is so many times as fast is worth a word.
_FASTER = 1.2
# A limit so many times the longest whole answer cuts only what rambles.
_ROOM = 1.5


def signed(difference: float) -> str:
    """A difference on the scale of five, with its sign: "+4.63", "−0.02", and "0.00" without one."""
    text = f"{abs(5 * difference):.2f}"
    if float(text) == 0:
        return text
    return f"{'+' if difference > 0 else MINUS}{text}"


def bounds(interval: Interval) -> str:
    """The interval on the scale of five, as [4.31, 4.95], or the reason why there is none, in brackets.

    It is shown up to what is possible, −5 to 5: a t interval knows of no such ends. (That of a score ends at 0 and 5
    when it is made.) The figures of `Leaderboard.to_json` stay as they are.
    """
    if interval.low is None or interval.high is None:
        return f"({interval.reason})"
    low, high = (f"{5 * min(1.0, max(-1.0, end)):.2f}".replace("-", MINUS) for end in (interval.low, interval.high))
    return f"[{low}, {high}]"


def clipped(interval: Interval) -> bool:
    """True when `bounds` shows an end of it nearer than it is."""
    ends = (interval.low or 0.0, interval.high or 0.0)
    return any(abs(end) > 1.001 for end in ends)  # less than that does not show in two digits


def p_value(p: float) -> str:
    """ "0.0005", two significant digits; "< 0.0001" below that."""
    if p < 0.0001:
        return "< 0.0001"
    digits = 2 if p >= 0.1 else 3 if p >= 0.01 else 4
    return f"{p:.{digits}f}"


def count(number: int, noun: str) -> str:
    """ "1 input", "13 inputs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def score_of(row: CandidateRow, part: Part) -> float | None:
    return row.format_score if part == "format" else row.content_score


def interval_of(row: CandidateRow, part: Part) -> Interval:
    return row.format_interval if part == "format" else row.content_interval


@dataclass(frozen=True)
class Headline:
    """The comparison that matters, in pieces: a narrow place leaves out the later ones.

    `result` says who is above whom, or why nothing is compared; `difference` is on the scale of five with its interval, and
    `evidence` what it rests on. Both are empty where there is no comparison.
    """

    result: str
    difference: str = ""
    evidence: str = ""

    @property
    def short(self) -> str:
        """Without the evidence."""
        return f"{self.result}: {self.difference}" if self.difference else self.result

    @property
    def text(self) -> str:
        return f"{self.short}, {self.evidence}" if self.evidence else self.short


def headline(
    rows: Sequence[CandidateRow],
    comparisons: Sequence[Comparison],
    best: str | None,
    incumbent: str | None,
    parts: Sequence[Part],
    inputs: int,
    repeats: int,
) -> Headline:
    """The best against the incumbent, or that against its best challenger, on the leading part."""
    by_name = {row.name: row for row in rows}
    if best is None or not parts:
        return Headline("No scored answers yet." if parts else "The task has no checks: there is nothing to compare.")
    leading = parts[0]
    # With two parts a figure alone would read as the whole score: 5.00/5 in format can be wrong in every answer.
    of_part = f" in {leading}" if len(parts) > 1 else ""
    asked = f"{count(inputs, 'input')} × {repeats}"
    other = best if best != incumbent else next((one.candidate for one in comparisons if one.part == leading), None)
    compared = {one.candidate: one for one in comparisons if one.part == leading}
    if other is None or other not in compared or incumbent is None:
        row = by_name[best]
        score = f"{best} {of_five(score_of(row, leading))}{of_part} {bounds(interval_of(row, leading))}"
        return Headline(score, evidence=asked)
    one = compared[other]
    theirs, held = (f"{name} {of_five(score_of(by_name[name], leading))}" for name in (other, incumbent))
    if one.inputs != inputs:
        asked = f"{one.inputs} of {count(inputs, 'input')} × {repeats}"
    words = {
        "better": f"{theirs} over {held}",
        "worse": f"{theirs} below {held}",
        "no_worse": f"{theirs}, no worse than {held}",
        "tied": f"{theirs}, no difference shown from {held}",
    }
    difference = f"{signed(one.difference)} {bounds(one.interval)}"
    return Headline(words[one.verdict] + of_part, difference, f"p {p_value(one.p_adjusted)}, {asked}")


def notes(
    task: Task,
    rows: Sequence[CandidateRow],
    tied: Sequence[str],
    ties: Sequence[Comparison],
    parts: Sequence[Part],
    inputs: int,
    clusters: int,
    repeats: int,
    unscored: Mapping[str, int],
    strangers: int,
    selection: Selection | None = None,
) -> list[str]:
    """What a reader must know before believing the figures, the gravest first."""
    return [
        *_curtailed(rows),
        *_missing([row for row in rows if not row.curtailed], unscored, strangers),
        *_power(inputs, clusters, len(rows)),
        *_tie(rows, tied, ties, parts, task.margin),
        *_selected(selection),
        *_limits(task, rows),
        *_faulty(rows),
        *_repeats(task, repeats),
    ]


def _curtailed(rows: Sequence[CandidateRow]) -> Iterator[str]:
    stopped = [f"{row.name} after {row.answers} of {count(row.expected, 'answer')}" for row in rows if row.curtailed]
    if stopped:
        yield f"Stopped, as the incumbent was out of reach: {', '.join(stopped)}. In no comparison and in no tied set."


def _selected(selection: Selection | None) -> Iterator[str]:
    """What the choice among several candidates does to the figures of the chosen one."""
    if selection is None or selection.among < 3:
        return
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
        yield f"{words}."


def _missing(rows: Sequence[CandidateRow], unscored: Mapping[str, int], strangers: int) -> Iterator[str]:
    alike: dict[str, list[str]] = {}
    for row in rows:
        if row.missing:
            old = unscored.get(row.name)
            rest = f" ({old} of them not scored by the checks as they are now)" if old else ""
            alike.setdefault(f"{row.missing} of {count(row.expected, 'answer')} missing{rest}", []).append(row.name)
    for missing, names in alike.items():
        who = "Each candidate" if len(names) == len(rows) > 1 else ", ".join(names)
        yield f"{who}: {missing}; compared over what is there."
    if strangers:
        yield f"{count(strangers, 'answer')} left out: the golden set has no such input."


def _power(inputs: int, clusters: int, candidates: int) -> Iterator[str]:
    if 0 < clusters < inputs:
        yield f"{inputs} inputs come from {count(clusters, 'source')}: they count as {clusters}."
    least = min(1.0, 2 / 2**clusters) if clusters <= 20 else 0.0
    if candidates > 1 and clusters and least > ALPHA:
        enough = next(n for n in range(clusters, 21) if 2 / 2**n <= ALPHA)
        what = "1 input" if clusters == 1 else f"{clusters} inputs"
        yield (
            f"{what} can never reach p {ALPHA}: the least possible is {p_value(least)}. "
            f"Add {enough - clusters} for a least p of {p_value(2 / 2**enough)}."
        )


def _tie(
    rows: Sequence[CandidateRow], tied: Sequence[str], ties: Sequence[Comparison], parts: Sequence[Part], margin: float
) -> Iterator[str]:
    if len(tied) < 2:
        return
    named = f"{', '.join(tied[:-1])} and {tied[-1]}"
    close = [one for one in ties if one.candidate in tied and one.against in tied and one.part == parts[0]]
    shown = [one.minimum_detectable for one in close if one.minimum_detectable is not None]
    words = f"Tied set: {named}. No difference of at least {of_five(margin)} is shown"
    if shown:
        words += f"; so many inputs can show {of_five(max(shown))}"
    more = max((one.add_inputs for one in close if one.add_inputs is not None), default=0)
    words += f"; add {count(more, 'input')} to resolve {of_five(RESOLVE)}." if more else "."
    yield words
    timed = [(row.seconds_per_answer, row.name) for row in rows if row.name in tied and row.seconds_per_answer]
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
                f"{row.name}: {row.thinking_aloud} of {count(row.answers, 'answer')} may begin with thinking; no tags mark it,"
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


def _faulty(rows: Sequence[CandidateRow]) -> Iterator[str]:
    faulty: dict[str, int] = {}
    for row in rows:
        for check in row.checks:
            if check.faulty:
                faulty[check.id] = faulty.get(check.id, 0) + check.faulty
    for name, number in faulty.items():
        yield f"The check {name} could not be done on {count(number, 'answer')}, which score 0 there: see why."


def _repeats(task: Task, repeats: int) -> Iterator[str]:
    if repeats == 1:
        yield "One repeat: nothing is known of consistency."
    elif task.sampling.temperature == 0:
        yield "At temperature 0 the repeats are one answer again: their agreement says nothing of consistency."
