"""`section_order`: the headings that are asked for stand in the answer in this order, each once."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from core.checks.base import Captures, CheckFault, CheckResult, Values, lookup
from core.checks.forgiveness import HEADING_FORGIVES, Forgiven, ForgivingDefinition, forms, same_name
from core.checks.lookalikes import alike_as_whole

# Of the headings that are not asked for, so many are named.
MAX_NAMED = 3


class SectionOrderCheck(ForgivingDefinition):
    """`level` is that of the headings looked at (left out: any); with `only` no other heading of it may stand there.

    `forgive`: by default underlined headings and backslashes before signs; also code blocks, quotations, numbers, emoji and
    bold lines (`core.checks.forgiveness`).
    """

    FROM_EXPECT: ClassVar[tuple[str, ...]] = ("sections",)
    FORGIVES: ClassVar[tuple[Forgiven, ...]] = HEADING_FORGIVES

    check: Literal["section_order"]
    sections: Values
    level: int | None = Field(default=None, ge=1, le=6)
    only: bool = False
    case_sensitive: bool = False

    @field_validator("sections")
    @classmethod
    def _are_different(cls, sections: tuple[str, ...] | str) -> tuple[str, ...] | str:
        if not isinstance(sections, str):
            twice = [name for name, count in Counter(name.casefold() for name in sections).items() if count > 1]
            if twice:
                raise ValueError(f"“{twice[0]}” stands there twice: each section is asked for once")
        return sections


def score_section_order(
    definition: SectionOrderCheck, text: str, expect: Mapping[str, Any], captures: Captures, timeout: float
) -> CheckResult:
    """1 when each section is the text of exactly one heading and they stand in this order; names are compared whole.

    Partial: the longest run of them that stands in order, over all that are asked for or found, those that stand twice (and
    with `only` the others) counted, too.
    """
    from core.checks.markdown import document, headings

    wanted = _wanted(definition, expect)
    parts, forgiven = definition.parts, definition.forgiven
    read = document(text, parts, forgiven)
    places = {same_name(name, parts, case_sensitive=definition.case_sensitive): at for at, name in enumerate(wanted)}
    found: list[int] = []
    others: list[str] = []
    elsewhere: dict[int, int] = {}
    for heading in headings(read, forgiven):
        names = (
            same_name(form, parts, case_sensitive=definition.case_sensitive) for form in forms(heading.text, forgiven)
        )
        place = next((places[name] for name in names if name in places), None)
        if definition.level is not None and heading.level not in (0, definition.level):
            if place is not None:
                elsewhere.setdefault(place, heading.level)
        elif place is None:
            others.append(heading.text)
        else:
            found.append(place)
    unwanted = others if definition.only else []
    if found == list(range(len(wanted))) and not unwanted:
        return CheckResult(1.0)
    repeated = len(found) - len(set(found))
    share = _longest_run(found) / (len(wanted) + repeated + len(unwanted)) if definition.partial else 0.0
    detail = _why(definition, wanted, found, others, elsewhere)
    if not found and not elsewhere and read.fenced:
        detail = "the whole answer is in a code block"
    return CheckResult(share, detail)


def _wanted(definition: SectionOrderCheck, expect: Mapping[str, Any]) -> list[str]:
    if not isinstance(definition.sections, str):
        return list(definition.sections)
    value = lookup(definition.sections, expect)
    listed = value if isinstance(value, list | tuple) else [value]
    if not listed or not all(isinstance(item, str) and item.strip() for item in listed):
        raise CheckFault(f"{definition.sections} is {value!r}: a list of the headings' texts is expected")
    if len({item.casefold() for item in listed}) != len(listed):
        raise CheckFault(f"{definition.sections} names a section twice")
    return list(listed)


def _longest_run(places: Sequence[int]) -> int:
    """The length of the longest strictly increasing subsequence, in n log n (patience sorting)."""
    tails: list[int] = []
    for place in places:
        at = bisect_left(tails, place)
        tails[at : at + 1] = [place]
    return len(tails)


def _why(
    definition: SectionOrderCheck,
    wanted: Sequence[str],
    found: Sequence[int],
    others: Sequence[str],
    elsewhere: Mapping[int, int],
) -> str:
    for place, name in enumerate(wanted):
        if place in found:
            continue
        if place in elsewhere:
            return f"“{name}” has level {elsewhere[place]}, {definition.level} expected"
        alike = (alike_as_whole(other, name, case_sensitive=definition.case_sensitive) for other in others)
        return f"no section “{name}”{next(filter(None, alike), '')}"
    for place, name in enumerate(wanted):
        if (times := found.count(place)) > 1:
            return f"“{name}” stands there {times} times"
    for before, behind in pairwise(found):
        if behind < before:
            return f"“{wanted[before]}” stands before “{wanted[behind]}”"
    named = ", ".join(f"“{other}”" for other in others[:MAX_NAMED])
    more = f" and {len(others) - MAX_NAMED} more" if len(others) > MAX_NAMED else ""
    return f"other headings: {named}{more}"
