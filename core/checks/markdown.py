"""Headings and tables of an answer, found by a markdown parser (CommonMark with tables) and not guessed by patterns.

Only what stands at the top level counts: a heading in a quotation or a code block is quoted, not written. Tables in code
blocks that are no program's are told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

# Inline markup of one heading or cell is parsed up to here: the inline rules are not linear on hostile text.
MAX_INLINE_CHARACTERS = 2_000
# What a code block is marked with that holds text to be read.
TEXT_FENCES = frozenset(("", "markdown", "md", "text", "txt", "table", "plaintext"))


@dataclass(frozen=True)
class Heading:
    level: int
    text: str


@dataclass(frozen=True)
class Table:
    columns: tuple[str, ...]
    rows: int


@dataclass(frozen=True)
class Document:
    """`fenced` tells that the whole answer stands in one code block; `tables_in_code` are those of code blocks beside text."""

    headings: tuple[Heading, ...]
    tables: tuple[Table, ...]
    fenced: bool
    tables_in_code: tuple[Table, ...] = ()


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    # Blocks only: the text of paragraphs is never asked for.
    return MarkdownIt("commonmark", {"html": False}).enable("table").disable("inline")


@lru_cache(maxsize=1)
def _inline_parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False})


def _plain(content: str) -> str:
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
    """The headings and tables of `text` in document order. The last few are kept, as several checks ask for them."""
    tokens = _parser().parse(text)
    headings: list[Heading] = []
    tables: list[Table] = []
    in_code: list[Table] = []
    fenced = [token.type for token in tokens] == ["fence"]
    for index, token in enumerate(tokens):
        if token.level != 0:
            continue
        if token.type == "heading_open":
            headings.append(Heading(int(token.tag[1:]), _plain(tokens[index + 1].content)))
        elif token.type == "table_open":
            tables.append(_table(tokens[index:]))
        elif token.type == "fence" and not fenced and token.info.strip().casefold() in TEXT_FENCES:
            inner = _parser().parse(token.content)
            starts = [place for place, part in enumerate(inner) if part.type == "table_open" and part.level == 0]
            in_code += [_table(inner[place:]) for place in starts]
    return Document(tuple(headings), tuple(tables), fenced, tuple(in_code))


def _table(tokens: Sequence[Token]) -> Table:
    columns: list[str] = []
    rows = 0
    for index, token in enumerate(tokens):
        if token.type == "table_close":
            break
        if token.type == "th_open":
            columns.append(_plain(tokens[index + 1].content))
        elif token.type == "tr_open":
            rows += 1
    return Table(tuple(columns), rows - 1)
