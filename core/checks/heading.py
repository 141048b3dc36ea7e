"""`heading`: exactly so many headings of one level have the form asked for; their named groups are captured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from core.checks.base import (
    Captures,
    CheckResult,
    Count,
    count_share,
    resolve_count,
)
from core.checks.forgiveness import HEADING_FORGIVES, Forgiven, ForgivingDefinition, forms
from core.checks.lookalikes import alike_for_pattern
from core.checks.normal_form import written
from core.checks.patterns import (
    Pattern,
    Stopwatch,
    collect_groups,
    compile_pattern,
    compile_shaped,
    pattern_parts,
    search,
)

if TYPE_CHECKING:
    from regex import Match

    from core.checks.markdown import Document, Heading


class HeadingCheck(ForgivingDefinition):
    """`forgive`: by default underlined headings and backslashes before signs; also code blocks, quotations, numbers, emoji and
    bold lines (`core.checks.forgiveness`)."""

    FORGIVES: ClassVar[tuple[Forgiven, ...]] = HEADING_FORGIVES

    check: Literal["heading"]
    level: int = Field(ge=1, le=6)
    pattern: Pattern
    count: Count = 1
    case_sensitive: bool = True

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        compile_pattern(pattern)
        return pattern

    def group_names(self) -> tuple[str, ...]:
        return tuple(compile_pattern(self.pattern).groupindex)


def score_heading(
    definition: HeadingCheck, text: str, expect: Mapping[str, Any], captures: Captures, timeout: float
) -> CheckResult:
    """1 when exactly `count` headings of the level match the pattern, searched in the text of each without markup and, as
    far as that is forgiven, without its number and adornment. Partial: the smaller of found and expected over the larger.
    """
    from core.checks.markdown import document, headings

    expected = resolve_count(definition.count, expect)
    parts = pattern_parts(definition.pattern, definition.parts, expected)
    pattern = compile_shaped(definition.pattern, parts, case_sensitive=definition.case_sensitive)
    forgiven = definition.forgiven
    read = document(text, parts, forgiven)
    found = headings(read, forgiven)
    watch = Stopwatch(timeout)
    matches: list[Match[str]] = []
    elsewhere: int | None = None
    for heading in found:
        shapes = (search(pattern, written(form, parts), watch) for form in forms(heading.text, forgiven))
        match = next(filter(None, shapes), None)
        if match and heading.level in (0, definition.level):
            matches.append(match)
        elif match and elsewhere is None:
            elsewhere = heading.level
    share = count_share(len(matches), expected)
    value = share if definition.partial or share == 1 else 0.0
    detail = "" if share == 1 else _why(definition, read, found, len(matches), expected, elsewhere, watch)
    return CheckResult(value, detail, collect_groups(matches))


def _why(
    definition: HeadingCheck,
    read: Document,
    found: Sequence[Heading],
    matching: int,
    expected: int,
    elsewhere: int | None,
    watch: Stopwatch,
) -> str:
    if matching:
        return f"{matching} matching heading{'s' if matching != 1 else ''}, {expected} expected"
    if read.fenced:
        return "the whole answer is in a code block"
    if elsewhere is not None:
        return f"the heading has level {elsewhere}, {definition.level} expected"
    of_level = [heading.text for heading in found if heading.level in (0, definition.level)]
    if of_level:
        alike = next(filter(None, (alike_for_pattern(definition, text, watch) for text in of_level)), "")
        return f"no heading of level {definition.level} has the form asked for{alike}"
    return f"no heading of level {definition.level}"
