"""Headings, tables and lists of an answer, found by a markdown parser (CommonMark with tables) and not guessed by patterns.

What stands in a quotation, a list item or a code block is quoted, not written: it counts where a check forgives that
(`core.checks.forgiveness`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeVar

from core.checks.forgiveness import TEXT_FENCES, Forgiven, prepared

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

    from core.checks.normal_form import Parts

# Inline markup of one heading or cell is parsed up to here: the inline rules are not linear on hostile text.
MAX_INLINE_CHARACTERS = 2_000
_LINE_ENDS = re.compile(r"\r\n?|\n")
_TASK_BOX = re.compile(r"\[[ xX]\](?=\s|$)\s*")
_CONTAINERS = ("blockquote", "bullet_list", "ordered_list")

T = TypeVar("T")


@dataclass(frozen=True)
class Heading:
    """`level` is 1 to 6, and 0 of a bold line, which has none. `line` is its first line (from 0), `below` the one after it."""

    level: int
    text: str
    line: int = 0
    below: int = 0
    style: Literal["atx", "setext", "bold"] = "atx"
    nested: bool = False


@dataclass(frozen=True)
class Table:
    """`cells` are the body rows, with their markup."""

    columns: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    nested: bool = False

    @property
    def rows(self) -> int:
        return len(self.cells)


@dataclass(frozen=True)
class ListItem:
    """`text` has its markup; what belongs to an item of a list within is no part of it."""

    text: str
    ordered: bool
    nested: bool


@dataclass(frozen=True)
class Document:
    """`bold` are the lines that are bold from end to end, with their markup. `fenced` tells that the whole answer stands in one
    code block; `code` are the code blocks of text beside text.
    """

    source: str
    headings: tuple[Heading, ...]
    bold: tuple[Heading, ...]
    tables: tuple[Table, ...]
    items: tuple[ListItem, ...]
    fenced: bool
    code: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A heading with the text below it, up to the next heading of its level or a higher one."""

    heading: Heading
    text: str


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    # Blocks only: the text of paragraphs is never asked for.
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("inline")


@lru_cache(maxsize=1)
def _inline_parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False})


def without_markup(content: str) -> str:
    """Inline markdown as a reader sees it: `**tea** — PASS` is "tea — PASS"."""
    if len(content) > MAX_INLINE_CHARACTERS:
        return content.strip()
    (inline,) = _inline_parser().parseInline(content)
    return "".join(_piece(token) for token in inline.children or ()).strip()


def _piece(token: Token) -> str:
    if token.type in ("softbreak", "hardbreak"):
        return " "
    if token.type == "image":
        return "".join(_piece(child) for child in token.children or ())
    return token.content


@lru_cache(maxsize=8)
def parse(text: str) -> Document:
    """The structure of `text` in document order. The last few are kept, as several checks ask for them."""
    tokens = _parser().parse(text)
    headings: list[Heading] = []
    bold: list[Heading] = []
    tables: list[Table] = []
    items: list[tuple[list[str], bool, bool]] = []
    code: list[str] = []
    fenced = [token.type for token in tokens] == ["fence"]
    containers: list[str] = []
    open_items: list[list[str]] = []
    for index, token in enumerate(tokens):
        kind = token.type
        nested = bool(containers)
        if kind.removesuffix("_open") in _CONTAINERS:
            containers.append(kind.removesuffix("_open"))
        elif kind.removesuffix("_close") in _CONTAINERS:
            containers.pop()
        elif kind == "list_item_open":
            open_items.append([])
            items.append((open_items[-1], containers[-1] == "ordered_list", len(containers) > 1))
        elif kind == "list_item_close":
            open_items.pop()
        elif kind == "heading_open":
            line, below = token.map or (0, 0)
            style: Literal["atx", "setext"] = "atx" if token.markup.startswith("#") else "setext"
            text_of = without_markup(tokens[index + 1].content)
            headings.append(Heading(int(token.tag[1:]), text_of, line, below, style, nested))
        elif kind == "paragraph_open":
            bold += _bold_lines(tokens[index + 1], token.map, nested)
        elif kind == "table_open":
            tables.append(_table(tokens, index, nested))
        elif kind == "fence" and not nested and not fenced and token.info.strip().casefold() in TEXT_FENCES:
            code.append(token.content)
        if open_items and kind in ("inline", "fence", "code_block"):
            open_items[-1].append(token.content)
    return Document(
        source=text,
        headings=tuple(headings),
        bold=tuple(bold),
        tables=tuple(tables),
        items=tuple(ListItem("\n".join(pieces), ordered, nested) for pieces, ordered, nested in items),
        fenced=fenced,
        code=tuple(code),
    )


def _bold_lines(inline: Token, place: list[int] | None, nested: bool) -> Iterator[Heading]:
    """The lines of a paragraph that are bold from end to end: `**Goal**`, `__Goal:__`, `**Goal**:`."""
    if "**" not in inline.content and "__" not in inline.content:
        return
    start = place[0] if place else 0
    for number, line in enumerate(inline.content.split("\n"), start=start):
        bare = line.strip().removesuffix(":").rstrip()
        mark = bare[:2]
        if mark not in ("**", "__") or not bare.endswith(mark) or len(bare) < 5:
            continue
        inner = bare.strip(mark[0])
        if inner.strip() and mark not in inner:
            yield Heading(0, inner, number, number + 1, "bold", nested)


def _table(tokens: Sequence[Token], start: int, nested: bool) -> Table:
    columns: list[str] = []
    rows: list[list[str]] = []
    for index in range(start, len(tokens)):
        kind = tokens[index].type
        if kind == "table_close":
            break
        if kind == "tr_open":
            rows.append([])
        elif kind == "th_open":
            columns.append(without_markup(tokens[index + 1].content))
        elif kind == "td_open":
            rows[-1].append(tokens[index + 1].content)
    return Table(tuple(columns), tuple(tuple(row) for row in rows[1:]), nested)


def document(text: str, parts: Parts, forgiven: frozenset[Forgiven]) -> Document:
    """The structure of an answer, with what the switches change of the text before it is read."""
    return parse(prepared(text, parts, forgiven))


def _found(within: Document, forgiven: frozenset[Forgiven], pick: Callable[[Document], list[T]]) -> list[T]:
    """What stands in the text; where nothing does and that is forgiven, what stands in its code blocks."""
    found = pick(within)
    if found or "code" not in forgiven:
        return found
    return [one for block in within.code for one in pick(parse(block))]


def headings(within: Document, forgiven: frozenset[Forgiven]) -> list[Heading]:
    """The headings that count, in document order."""
    return _found(within, forgiven, lambda read: _headings(read, forgiven))


def _headings(read: Document, forgiven: frozenset[Forgiven]) -> list[Heading]:
    counted = [heading for heading in read.headings if "setext" in forgiven or heading.style != "setext"]
    if "emphasis" in forgiven:
        counted += [replace(line, text=without_markup(line.text).removesuffix(":").rstrip()) for line in read.bold]
        counted.sort(key=lambda heading: heading.line)
    return [heading for heading in counted if "nested" in forgiven or not heading.nested]


def tables(within: Document, forgiven: frozenset[Forgiven]) -> list[Table]:
    """The tables that count, in document order."""
    return _found(
        within, forgiven, lambda read: [table for table in read.tables if "nested" in forgiven or not table.nested]
    )


def list_items(within: Document, forgiven: frozenset[Forgiven], *, ordered: bool = False) -> list[str]:
    """The texts of the list items that count, without markup and without a task's box; `ordered`: of numbered lists alone."""

    def pick(read: Document) -> list[str]:
        return [
            _TASK_BOX.sub("", item.text, count=1) if _TASK_BOX.match(item.text) else item.text
            for item in read.items
            if ("nested" in forgiven or not item.nested) and (item.ordered or not ordered)
        ]

    return _found(within, forgiven, pick)


def sections(within: Document, forgiven: frozenset[Forgiven]) -> list[Section]:
    """The headings that count with what stands below each. A bold line stands below all headings, and ends at any."""

    def pick(read: Document) -> list[Section]:
        counted = _headings(read, forgiven)
        lines = _LINE_ENDS.split(read.source)
        made: list[Section] = []
        ends = _section_ends(counted, len(lines))
        for heading, end in zip(counted, ends, strict=True):
            made.append(Section(heading, "\n".join(lines[heading.below : end]).strip("\n")))
        return made

    return _found(within, forgiven, pick)


def _section_ends(counted: Sequence[Heading], last: int) -> list[int]:
    """For each heading the line at which its section ends, in one pass from the last."""
    ends = [last] * len(counted)
    waiting: list[int] = []  # places of headings whose end is not found yet, the deepest last
    for place, heading in enumerate(counted):
        depth = heading.level or 7
        while waiting and (counted[waiting[-1]].level or 7) >= depth:
            ends[waiting.pop()] = heading.line
        waiting.append(place)
    return ends
