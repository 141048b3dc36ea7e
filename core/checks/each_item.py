"""`each_item`: every item of a list (or row, line, section, item of a JSON array) has the form asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from core.checks.base import EXPECT, Captures, CheckResult, checked_count, is_expect_key
from core.checks.forgiveness import (
    AS_WRITTEN_SIGNS,
    HEADING_FORGIVES,
    Forgiven,
    ForgivingDefinition,
    prepared,
    same_name,
)
from core.checks.json_text import BY_DEFAULT, NotJsonError, read_document
from core.checks.lengths import count_words
from core.checks.lookalikes import alike_for_pattern
from core.checks.normal_form import structural, written
from core.checks.patterns import Pattern, Stopwatch, collect_groups, compile_pattern, compile_shaped, search
from core.checks.pointers import as_text, check_pointer, found_at
from core.checks.ranges import Span, refuse_backwards, span_of
from core.errors import KeyedError

if TYPE_CHECKING:
    from regex import Match

KINDS = ("list", "ordered", "rows", "lines", "sections")
ONE_OF: Mapping[str, str] = {"list": "item", "ordered": "item", "rows": "row", "lines": "line", "sections": "section"}


def _bounds(value: object) -> object:
    """`3`, `expect.steps`, `[1, 20]`, `[1, null]`."""
    if isinstance(value, list | tuple):
        if len(value) != 2 or all(bound is None for bound in value):
            raise ValueError("expected a whole number, expect.KEY or [least, most]")
        made = tuple(None if bound is None else checked_count(bound) for bound in value)
        refuse_backwards(*made)
        return made
    try:
        return checked_count(value)
    except ValueError:
        raise ValueError("expected a whole number from 0, expect.KEY or [least, most]") from None


Bounds = Annotated[int | str | tuple[int | str | None, int | str | None], BeforeValidator(_bounds)]


class EachItemCheck(ForgivingDefinition):
    """`of` is what is looked at: `list` (items of all lists), `ordered` (of numbered ones), `rows` (of tables), `lines` (not
    blank), `sections` (the text below each heading, of `level` if given), or a JSON pointer to an array.

    At least one of `pattern`, `words`, `count` and `unique` says what is asked of them. `forgive`: by default underlined
    headings and backslashes before signs, of JSON a code block around it; also what other checks forgive, and bullets that are
    no markdown (`core.checks.forgiveness`).
    """

    FORGIVES: ClassVar[tuple[Forgiven, ...]] = (*HEADING_FORGIVES, "bullets")

    check: Literal["each_item"]
    of: str
    pattern: Pattern | None = None
    words: Bounds | None = None
    count: Bounds | None = None
    unique: bool = False
    level: int | None = Field(default=None, ge=1, le=6)
    multiline: bool = False
    case_sensitive: bool = True

    @field_validator("of")
    @classmethod
    def _is_known(cls, of: str) -> str:
        if of in KINDS:
            return of
        if not of.startswith("/"):
            raise ValueError(f"expected {', '.join(KINDS)}, or a JSON pointer such as /items/*/title")
        return check_pointer(of)

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            compile_pattern(pattern)
        return pattern

    @model_validator(mode="after")
    def _asks_something(self) -> EachItemCheck:
        if self.pattern is None and self.words is None and self.count is None and not self.unique:
            remedy = "write `pattern`, `words`, `count` or `unique: true`"
            raise KeyedError("the check asks nothing of the items", remedy=remedy)
        if self.level is not None and self.of != "sections":
            raise KeyedError("only sections have a level", key="level", remedy="take the key out")
        return self

    def default_id(self) -> str:
        return f"each_item of {self.of}"[:60]

    def group_names(self) -> tuple[str, ...]:
        return () if self.pattern is None else tuple(compile_pattern(self.pattern).groupindex)

    def expect_keys(self) -> tuple[str, ...]:
        asked = [item for bounds in (self.count, self.words) for item in _both(bounds)]
        return tuple(dict.fromkeys(item.removeprefix(EXPECT) for item in asked if is_expect_key(item)))


def _both(bounds: object) -> tuple[Any, Any]:
    """Lower and upper bound of a number, a key or a pair."""
    return bounds if isinstance(bounds, tuple) else (bounds, bounds)


def score_each_item(
    definition: EachItemCheck, text: str, expect: Mapping[str, Any], captures: Captures, timeout: float
) -> CheckResult:
    """1 when there are as many items as `count` says (at least one, without it) and each has the form: the pattern is found in
    its text without markup, its words are in the range, it repeats no other.

    Partial: the items that are right and asked for, over all that are there or asked for, whichever are more.
    """
    asked = span_of(*_both(definition.count), expect) if definition.count is not None else Span(1, None)
    words = span_of(*_both(definition.words), expect) if definition.words is not None else None
    watch = Stopwatch(timeout, "the check")
    try:
        items = _items(definition, text, watch)
    except NotJsonError as reason:
        return CheckResult(0.0, str(reason))
    matches, reasons = _looked_through(definition, items, words, watch)
    first = next(filter(None, reasons), "")
    captured = collect_groups(matches)
    if not first and asked.holds(len(items)):
        return CheckResult(1.0, "", captured)
    one = ONE_OF.get(definition.of, "item")
    detail = first
    if not asked.holds(len(items)):
        units = one if len(items) == 1 else f"{one}s"
        detail = f"{len(items)} {units}, {asked.words()} expected" if items else _why_none(definition, text, one)
    right = sum(not reason for reason in reasons)
    most = right if asked.high is None else min(right, asked.high)
    share = most / max(len(items), asked.low) if definition.partial else 0.0
    return CheckResult(share, detail, captured)


def _why_none(definition: EachItemCheck, text: str, one: str) -> str:
    from core.checks.markdown import document

    in_markdown = definition.of in KINDS and definition.of != "lines"
    if in_markdown and document(text, definition.parts, definition.forgiven).fenced:
        return "the whole answer is in a code block"
    return f"no {one}s"


def _looked_through(
    definition: EachItemCheck, items: list[tuple[str, str]], words: Span | None, watch: Stopwatch
) -> tuple[list[Match[str]], list[str]]:
    """The matches of the pattern, and of each item why it is not right (empty: it is)."""
    parts = definition.parts
    pattern = (
        None
        if definition.pattern is None
        else compile_shaped(
            definition.pattern, parts, multiline=definition.multiline, case_sensitive=definition.case_sensitive
        )
    )
    one = ONE_OF.get(definition.of, "item")
    one = f"an {one}" if one == "item" else f"a {one}"
    matches: list[Match[str]] = []
    reasons: list[str] = []
    seen: set[str] = set()
    told = False
    for name, text in items:
        reason = ""
        if pattern is not None:
            match = search(pattern, written(text, parts), watch)
            if match is None:
                # Only the first reason is told.
                alike = "" if told else alike_for_pattern(definition, text, watch, multiline=definition.multiline)  # type: ignore[arg-type]
                told, reason = True, f"{one} does not have the form asked for{alike}"
            else:
                matches.append(match)
        if not reason and words is not None and not words.holds(length := count_words(text, parts)):
            reason = f"{one} has {words.missed(length)} words"
        key = same_name(name, parts)
        if not reason and definition.unique and key in seen:
            reason = f"{one} stands there twice"
        seen.add(key)
        reasons.append(reason)
    return matches, reasons


def _items(definition: EachItemCheck, text: str, watch: Stopwatch) -> list[tuple[str, str]]:
    """Each item as what it is called (to tell repeats by) and its text."""
    parts, forgiven = definition.parts, definition.forgiven
    if definition.of.startswith("/"):
        found = found_at(read_document(structural(text, parts), _of_json(definition)), definition.of)
        items = [as_text(item) for value in found for item in (value if isinstance(value, list) else [value])]
        return [(item, item) for item in items]
    if definition.of == "lines":
        lines = prepared(text, parts, forgiven | AS_WRITTEN_SIGNS).split("\n")
        return [(line.strip(), line.strip()) for line in lines if line.strip()]
    from core.checks.markdown import document, list_items, sections, tables, without_markup

    if definition.of == "sections":
        read = document(text, parts, forgiven | AS_WRITTEN_SIGNS)
        chosen = [
            one
            for one in sections(read, forgiven)
            if definition.level is None or one.heading.level in (0, definition.level)
        ]
        return [(one.heading.text, one.text) for one in chosen]
    read = document(text, parts, forgiven)
    made: list[tuple[str, str]] = []
    if definition.of == "rows":
        for row in (row for table in tables(read, forgiven) for row in table.cells):
            watch.remaining()
            line = " | ".join(without_markup(cell) for cell in row)
            made.append((line, line))
        return made
    for item in list_items(read, forgiven, ordered=definition.of == "ordered"):
        watch.remaining()
        shown = "\n".join(without_markup(line) for line in item.split("\n"))
        made.append((shown, shown))
    return made


def _of_json(definition: EachItemCheck) -> frozenset[Literal["fence", "bom", "comments"]]:
    """What is forgiven of a JSON document: what `json_schema` forgives, unless something else is said."""
    if definition.forgive is False:
        return frozenset()
    said = definition.forgive is not True and definition.forgive != type(definition).model_fields["forgive"].default
    return BY_DEFAULT - {"fence"} if said and "fence" not in definition.forgiven else BY_DEFAULT
