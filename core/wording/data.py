"""The words for what is in a data file. The figures are `core.data.inspection.Inspection`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

from core.data.inspection import Inspection, TextLengths
from core.data.line_forms import FORM_NAMES
from core.data.records import FORMAT_NAMES, UNIT_PLURALS
from core.format import data_size, listed, plural
from core.text import visible

NAMED_KEYS = 12
NAMED_COLUMNS = 20
SHOWN_CHARACTERS = 40


class LearntCounts(Protocol):
    """What a report or an audit of training data counts."""

    @property
    def examples(self) -> int: ...
    @property
    def unlearnt_turns(self) -> int: ...
    @property
    def unlearnt_lines(self) -> tuple[int, ...]: ...
    @property
    def empty_prompts(self) -> int: ...


def data_remarks(counts: LearntCounts) -> list[str]:
    """What training data says not to learn, and prompts that ask nothing."""
    said = []
    if counts.unlearnt_turns:
        text = f"{plural(counts.unlearnt_turns, 'assistant turn')} marked as not to be learnt (weight 0)"
        if lines := counts.unlearnt_lines:
            more = f" and {len(lines) - NAMED_KEYS} more" if len(lines) > NAMED_KEYS else ""
            text += f"; nothing is learnt from lines {', '.join(map(str, lines[:NAMED_KEYS]))}{more}"
        said.append(text)
    if 0 < counts.examples == counts.empty_prompts:
        said.append("every prompt is empty: the model would learn one answer to whatever is asked")
    elif counts.empty_prompts:
        said.append(f"{plural(counts.empty_prompts, 'example')} with an empty prompt")
    return said


def format_words(found: Inspection) -> str:
    """`CSV (semicolon), gzip, UTF-8, 1.2 MB`."""
    name = FORMAT_NAMES[found.format].removeprefix("a ")
    delimiter = f" (delimiter: {found.delimiter})" if found.delimiter else ""
    parts = [f"{name}{delimiter}", found.compression, found.encoding, data_size(found.size_bytes)]
    return ", ".join(part for part in parts if part)


def form_words(found: Inspection) -> str:
    """`ShareGPT`, or `ShareGPT (40), Alpaca (2)` of a mixture; empty when no record can be used."""
    names = [(FORM_NAMES[form], count) for form, count in found.forms.items()]
    return names[0][0] if len(names) == 1 else ", ".join(f"{name} ({count:,})" for name, count in names)


def units(found: Inspection, count: int) -> str:
    """`1 line`, `1,204 rows`."""
    return f"{count:,} {found.unit if count == 1 else UNIT_PLURALS[found.unit]}"


def counted_keys(counts: Mapping[str, int]) -> str:
    """`id (40), messages[].name (3) and 2 more`."""
    named = [f"{key or 'no name'} ({count:,})" for key, count in list(counts.items())[:NAMED_KEYS]]
    more = f" and {len(counts) - NAMED_KEYS} more" if len(counts) > NAMED_KEYS else ""
    return ", ".join(named) + more


def lengths_words(lengths: TextLengths | None, unit: str = "characters") -> str:
    """`median 120, 90 % up to 400, longest 2,310 characters`."""
    if lengths is None:
        return "none"
    return f"median {lengths.median:,.0f}, 90 % up to {lengths.p90:,.0f}, longest {lengths.longest:,} {unit}"


def learnt_words(found: Inspection) -> str:
    """What a training would learn from the file, with the assistant turns that it says not to learn."""
    text = plural(found.learnt_last, "answer")
    if found.learnt_every != found.learnt_last:
        text += f", the last of each conversation; {found.learnt_every:,} with `loss: every_turn`"
    if found.unlearnt_turns:
        text += f"; {plural(found.unlearnt_turns, 'assistant turn')} marked as not to be learnt"
    return text


def turns_words(found: Inspection) -> str:
    """`1 answer each` or `1 to 7 answers a conversation, 4 with several`; with the roles and system messages."""
    counts = [count for count in found.turns if count]
    if not counts:
        return "none"
    several = sum(times for count, times in found.turns.items() if count > 1)
    answers = (
        f"{counts[0]} answer{'s' if counts[0] > 1 else ''} in each conversation"
        if len(counts) == 1
        else f"{counts[0]} to {counts[-1]} answers in a conversation, several in {several:,}"
    )
    roles = listed([f"{count:,} {role}" for role, count in found.roles.items()])
    systems = f"; {plural(found.systems, 'different system message')}" if found.systems > 1 else ""
    return f"{answers}; messages: {roles}{systems}"


def file_words(found: Inspection) -> str:
    """`chats.csv: CSV (delimiter: semicolon), UTF-8, 1.2 MB`."""
    return f"{found.file}: {format_words(found)}"


def inspection_rows(found: Inspection) -> Iterator[tuple[str, str]]:
    """What is in the file, as (label, text); warnings and problems have words of their own."""
    blank = f", {found.blank:,} blank" if found.blank else ""
    bad = f", {found.bad:,} cannot be used" if found.bad else ""
    yield "records", f"{units(found, found.records)}{blank}{bad}"
    form = form_words(found) or "none that is known"
    yield "form", f"{form}{' (can be trained on as it is)' if found.own else ''}"
    # Where no record can be used, nothing can be said of what is read of it.
    columns = [
        f"{column.name or 'no name'}{f' ({column.use})' if found.usable else ''}"
        for column in found.columns[:NAMED_COLUMNS]
    ]
    more = f" and {len(found.columns) - NAMED_COLUMNS} more" if len(found.columns) > NAMED_COLUMNS else ""
    yield "columns", f"{', '.join(columns)}{more}"
    if found.usable:
        yield "turns", turns_words(found)
        yield "learnt", learnt_words(found)
        yield "prompts", lengths_words(found.prompt_characters)
        yield "answers", lengths_words(found.completion_characters)
    if found.ignored:
        yield "ignored", counted_keys(found.ignored)


def warning_words(found: Inspection) -> Iterator[str]:
    """What a person should know before training on it."""
    if not found.records:
        yield "There is nothing in the file."
    if found.no_prompts:
        yield "Every prompt is empty: the model would learn one answer to whatever is asked."
    elif found.empty_prompts:
        yield f"{units(found, found.empty_prompts)} with an empty prompt."
    if found.empty_answers:
        them = "it" if found.empty_answers == 1 else "them"
        yield f"{units(found, found.empty_answers)} with an empty answer: training refuses {them}."
    if found.filled:
        yield f"{units(found, found.filled)} whose whole answer is {_shown(found.filled_text)} or the like: was the cell empty?"
    if found.garbled:
        yield (
            f"{units(found, found.garbled)} with letters that were lost in a wrong encoding, such as "
            f"{_shown(found.garbled_text)}: make the file again from its source, as UTF-8."
        )
    if found.unlearnt_records:
        yield f"{units(found, found.unlearnt_records)} of which nothing is learnt: all answers are marked as not to be learnt."
    if found.duplicates:
        yield f"{units(found, found.duplicates)} {repeat_words(found.duplicates)}."


def repeat_words(count: int) -> str:
    """`repeats an earlier one` of one, `repeat an earlier one` of several."""
    return "repeats an earlier one" if count == 1 else "repeat an earlier one"


def duplicate_words(count: int, lines: str = "") -> str:
    """`1 example repeats an earlier one: line 39`; without `lines` only how many."""
    where = f": {'line' if count == 1 else 'lines'} {lines}" if lines else ""
    return f"{plural(count, 'example')} {repeat_words(count)}{where}"


def left_out_words(found: Inspection, count: int) -> str:
    """`4 entries that cannot be trained on are left out`."""
    return f"{units(found, count)} that cannot be trained on {'is' if count == 1 else 'are'} left out"


def _shown(text: str) -> str:
    return f"`{visible(text, limit=SHOWN_CHARACTERS)}`"


def problem_words(found: Inspection) -> Iterator[str]:
    """The first records that cannot be used, and how many more there are; those of one reason are said together."""
    reasons: dict[tuple[str, str], list[int]] = {}
    for problem in found.problems:
        number = problem.number if found.unit != "line" or problem.line is None else problem.line
        key = f"{problem.key}: " if problem.key else ""
        reason = f"{key}{problem.message.removeprefix(f'{found.unit} {problem.number}: ')}"
        reasons.setdefault((reason, problem.remedy or ""), []).append(number)
    for (reason, remedy), places in reasons.items():
        unit = found.unit if len(places) == 1 else UNIT_PLURALS[found.unit]
        yield f"{unit} {', '.join(map(str, places))}: {reason}{f'; {remedy}' if remedy else ''}"
    if found.bad > len(found.problems):
        yield f"and {found.bad - len(found.problems):,} more {UNIT_PLURALS[found.unit]}"
