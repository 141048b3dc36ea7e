"""What a check that reads structure forgives of the markdown that models write, and which switch of `forgive` does.

| switch | what is forgiven |
|---|---|
| `fence` | the whole answer stands in one code block marked as text, markdown or nothing: it is read as if it did not |
| `code` | where none of what is looked for stands in the text itself, that in code blocks of text beside it counts |
| `nested` | what stands in a quotation or a list item counts as if it stood by itself |
| `setext` | a line underlined with `===` or `---` is a heading of level 1 or 2 |
| `escaped_pipes` | a backslash before a sign means the sign: a pipe inside a cell, `C\\#` in a heading |
| `numbering` | `1. Goal`, `2) Goal`, `IV. Goal` and the like are `Goal`, too |
| `decoration` | emoji, bullets and closing punctuation around a heading's text: `🎯 Goal:` is `Goal`, too |
| `emphasis` | a line that is bold from end to end stands for a heading, of whatever level is asked for |
| `bullets` | a line that begins with `•`, `◦`, `▪`, a dash or the like is an item of a list |

`forgive: true` is all that a check can forgive, `false` nothing, a list these. What each forgives by default is in its
class, and keeps what the check said before there was a switch.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import ClassVar, Literal, get_args

from pydantic import field_validator

from core.checks.base import BaseDefinition
from core.checks.normal_form import Parts, plain, structural

Forgiven = Literal[
    "fence", "code", "nested", "setext", "escaped_pipes", "numbering", "decoration", "emphasis", "bullets"
]
FORGIVEN: tuple[Forgiven, ...] = get_args(Forgiven)
# What a code block is marked with that holds text to be read.
TEXT_FENCES = frozenset(("", "markdown", "md", "text", "txt", "table", "plaintext"))

# A number, a Roman number or a letter that counts headings, with its sign.
_NUMBER = re.compile(
    r"(?:\(?[0-9]{1,3}(?:\.[0-9]{1,3})*[.)．）、:](?![0-9])\s*"  # 1. 2) (3) 1.2. 4:
    r"|\(?(?:[IVXLC]{1,6}|[A-Za-z])[.)]\s+"  # IV. a)
    r"|[0-9]{1,3}(?:\.[0-9]{1,3})+\s+"  # 1.2
    r"|[0-9]{1,3}\s*(?:[–—-]\s+|\u20e3\s*)"  # 1 - , and the sign of a key
    r"|[\u2460-\u2473]\s*)(?=\S)"  # ①
)
_PUNCTUATION = frozenset(".:;,…·•‣!?→⇒：。\ufe0f")
_ADORNING = frozenset(("So", "Sk", "Cf", "Pd", "Me"))
_BACKSLASH = re.compile(r"\\(?=[!-/:-@\[-`{-~])")
_BULLETS = (
    "\u2022\u2023\u2043\u25e6\u25aa\u25ab\u25cf\u25cb\u25a0\u2219\u00b7\u2013\u2014\u2192\u2713\u2714\u2610\u2611\u2705"
)
_BULLET = re.compile(rf"^([ \t]*)[{_BULLETS}][ \t]+", re.MULTILINE)


Forgive = bool | tuple[Forgiven, ...]


class ForgivingDefinition(BaseDefinition):
    """A check that reads structure. `FORGIVES` is what it can forgive, `forgive` what it does."""

    FORGIVES: ClassVar[tuple[Forgiven, ...]] = ()
    # Definitions of before this key keep their hashes, and so their stored scores.
    UNHASHED_DEFAULTS: ClassVar[tuple[str, ...]] = ("forgive",)

    forgive: Forgive = ("setext", "escaped_pipes")

    @field_validator("forgive", mode="before")
    @classmethod
    def _is_a_switch(cls, value: object) -> object:
        if isinstance(value, bool):
            return value
        if isinstance(value, list | tuple) and value:
            beyond = [part for part in value if part not in cls.FORGIVES]
            if not beyond:
                return tuple(value)
            if beyond[0] in FORGIVEN:
                raise ValueError(f"this check has no use for `{beyond[0]}`: it can forgive {', '.join(cls.FORGIVES)}")
        raise ValueError(f"expected true, false, or a list of these: {', '.join(cls.FORGIVES)}")

    @property
    def forgiven(self) -> frozenset[Forgiven]:
        """The switches that are on."""
        if isinstance(self.forgive, bool):
            return frozenset(self.FORGIVES if self.forgive else ())
        return frozenset(self.forgive)


HEADING_FORGIVES: tuple[Forgiven, ...] = (
    "fence",
    "code",
    "nested",
    "setext",
    "escaped_pipes",
    "numbering",
    "decoration",
    "emphasis",
)

# For what is counted or searched as it is written: a backslash is no sign of another text then.
AS_WRITTEN_SIGNS: frozenset[Forgiven] = frozenset(("escaped_pipes",))


def whole_fence(text: str) -> str | None:
    """What stands in the one code block that is the whole answer; None where there is more, or less, or another mark.

    A block inside it that is marked with a language ends at its own mark, as whoever wrote it meant, and a block that the
    end of the answer cuts off is whole. Time is linear in the text.
    """
    lines = text.strip("\n").split("\n")
    while lines and not lines[-1].strip():
        lines.pop()
    opened = _fence(lines[0]) if lines else None
    if opened is None or opened[1].casefold() not in TEXT_FENCES:
        return None
    open_marks = [opened[0]]
    for number, line in enumerate(lines[1:], start=1):
        found = _fence(line)
        if found is None:
            continue
        marks, info = found
        if info:
            open_marks.append(marks)
        elif marks in open_marks:
            # What a block within lacks of its own end, the end of the outer one is.
            while open_marks.pop() != marks:
                pass
        elif marks[0] == open_marks[-1][0] and len(marks) >= len(open_marks[-1]):
            open_marks.pop()
        if not open_marks:
            return "\n".join(lines[1:number]) + "\n" if number == len(lines) - 1 else None
    return "\n".join(lines[1:]) + "\n"


def _fence(line: str) -> tuple[str, str] | None:
    """The marks of a line that opens or closes a code block, and what stands behind them; None of another line."""
    bare = line.lstrip(" ")
    sign = bare[:1]
    if sign not in ("`", "~") or len(line) - len(bare) > 3:
        return None
    info = bare.lstrip(sign)
    marks = bare[: len(bare) - len(info)]
    return None if len(marks) < 3 or (sign == "`" and sign in info) else (marks, info.strip())


def prepared(text: str, parts: Parts, forgiven: frozenset[Forgiven]) -> str:
    """The text that a markdown parser reads."""
    text = structural(text, parts)
    if "fence" in forgiven and (inner := whole_fence(text)) is not None:
        text = inner
    if "bullets" in forgiven:
        text = _BULLET.sub(r"\1- ", text)
    # A backslash that is no escape is a sign like any other.
    return text if "escaped_pipes" in forgiven else _BACKSLASH.sub("&#92;", text)


def forms(heading: str, forgiven: frozenset[Forgiven]) -> Iterator[str]:
    """The texts that a heading may be taken for: as written first, then without its number and its adornment."""
    yield heading
    for _ in range(3):
        shorter = heading
        if "decoration" in forgiven:
            shorter = _unadorned(shorter)
        if "numbering" in forgiven:
            shorter = _NUMBER.sub("", shorter, count=1) if _NUMBER.match(shorter) else shorter
        if shorter == heading or not shorter:
            return
        yield shorter
        heading = shorter


def same_name(text: str, parts: Parts, *, case_sensitive: bool = False) -> str:
    """The name of a heading or a column, in the form in which names are compared."""
    blanks = r"\s+" if "spaces" in parts else r"[ \t\n]+"
    name = re.sub(blanks, " ", plain(text, parts)).strip(" ")
    return name if case_sensitive else name.casefold()


def _unadorned(text: str) -> str:
    start, end = 0, len(text)
    while start < end and _is_adornment(text[start]):
        start += 1
    while end > start and _is_adornment(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_adornment(sign: str) -> bool:
    return sign.isspace() or sign in _PUNCTUATION or unicodedata.category(sign) in _ADORNING
