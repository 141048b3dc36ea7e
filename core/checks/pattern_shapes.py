"""Patterns in the normal form: each sign that a pattern writes stands for all shapes of that sign.

A pattern only ever matches more for it. A class lists the shapes of the signs in it that are no plain ones (`[—:]`), and
`[^…]` and what stands in a negative look-around stay as they are written: they would match less.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from core.checks.normal_form import SPACES, Parts, is_invisible, shapes_of, written

# The head of a group, without the bracket that ends a group which is nothing but a head.
_GROUP = re.compile(
    r"\((?:\?(?:P<[^>]*>|P=[^)]*|P>[^)]*|&[^)]*|\#[^)]*|<[=!]|<[^>]*>|[=!:>|]|\([^)]*\)|[A-Za-z0-9+-]*:?)|\*[A-Z]+)?"
)
_ESCAPE = re.compile(
    r"\\(?:x(?P<x>[0-9A-Fa-f]{2})|u(?P<u>[0-9A-Fa-f]{4})|U(?P<U>[0-9A-Fa-f]{8})|N\{(?P<N>[^}]*)\}"
    r"|[pP]\{[^}]*\}|[gkL]<[^>]*>|(?P<other>.))",
    re.DOTALL,
)
_QUANTIFIER = re.compile(r"\{[^{}]*\}")
_CONTROLS = {"r": "\r", "n": "\n", "t": "\t"}
_OPERATORS = frozenset(".^$*+?|)")
_INLINE_VERBOSE = re.compile(r"\(\?[A-Za-z0-9]*x")


@lru_cache(maxsize=256)
def in_all_shapes(pattern: str, parts: Parts, *, verbose: bool = False) -> str:
    """The pattern whose signs stand for all their shapes, to be searched in a text that `normal_form.written` gave."""
    if "unicode" in parts:
        pattern = unicodedata.normalize("NFC", pattern)
    if _INLINE_VERBOSE.search(pattern):
        return pattern  # which blanks and signs of it count is not known here
    return _Walk(pattern, parts, verbose).shaped()


@lru_cache(maxsize=256)
def has_letters(pattern: str) -> bool:
    """Whether the pattern asks for a letter or digit by itself, outside of classes."""
    walk = _Walk(pattern, frozenset(), False)
    walk.shaped()
    return any(letter.isalnum() for letter in walk.literals)


@lru_cache(maxsize=256)
def names_invisible(pattern: str) -> bool:
    """Whether the pattern names a character of no width: then these are not left out of the text."""
    walk = _Walk(pattern, frozenset(), False)
    walk.shaped()
    return any(map(is_invisible, walk.literals + walk.listed)) or re.search(r"\\p\{\^?C", pattern) is not None


class _Walk:
    """One walk through a pattern. `literals` are the characters that it asks for, `listed` those of its classes."""

    def __init__(self, pattern: str, parts: Parts, verbose: bool) -> None:
        self.pattern = pattern
        self.parts = parts
        self.verbose = verbose
        self.place = 0
        self.literals: list[str] = []
        self.listed: list[str] = []
        self.negative = [False]

    def shaped(self) -> str:
        made = []
        while self.place < len(self.pattern):
            made.append(self._next())
        return "".join(made)

    def _next(self) -> str:
        sign = self.pattern[self.place]
        if sign == "\\":
            raw, letter = self._escape()
            return raw if letter is None else self._literal(letter, raw)
        if sign == "[":
            return self._class()
        if sign == "(":
            head = self._take(_GROUP)
            self.negative.append(self.negative[-1] or head in ("(?!", "(?<!"))
            return head
        if sign == "{" and (match := _QUANTIFIER.match(self.pattern, self.place)):
            self.place = match.end()
            return match[0]
        if sign == "#" and self.verbose:
            return self._take(re.compile(r"#[^\n]*"))
        self.place += 1
        if sign == ")" and len(self.negative) > 1:
            self.negative.pop()
        if sign in _OPERATORS or (self.verbose and sign.isspace()):
            return sign
        return self._literal(sign, sign)

    def _take(self, expression: re.Pattern[str]) -> str:
        match = expression.match(self.pattern, self.place)
        assert match is not None
        self.place = match.end()
        return match[0]

    def _escape(self) -> tuple[str, str | None]:
        """What is written, and the character that it stands for; None where it stands for none (`\\d`, a back reference)."""
        match = _ESCAPE.match(self.pattern, self.place)
        if match is None:  # a backslash at the end: the pattern cannot be compiled anyway
            self.place += 1
            return "\\", None
        self.place = match.end()
        code = match["x"] or match["u"] or match["U"]
        if code is not None:
            return match[0], chr(int(code, 16)) if int(code, 16) < 0x110000 else None
        if match["N"] is not None:
            try:
                return match[0], unicodedata.lookup(match["N"])
            except KeyError:
                return match[0], None
        other = match["other"]
        if other in _CONTROLS:
            return match[0], _CONTROLS[other]
        plain_escape = other is None or (other.isascii() and other.isalnum())
        return match[0], None if plain_escape else other

    def _literal(self, letter: str, raw: str) -> str:
        self.literals.append(letter)
        if letter == "\r" and "lines" in self.parts:
            # Of a line end only the line feed is left.
            following = self.pattern[self.place : self.place + 2]
            optional = following[:1] in ("?", "*")
            return "" if following[:1] == "\n" or following in ("\\n", "\\\n") else raw if optional else r"\n"
        there = written(letter, self.parts)
        if self.negative[-1] or not there:
            return raw if there in (letter, "") else re.escape(there)
        shapes = shapes_of(there, self.parts)
        if len(shapes) > 1:
            return "[" + "".join(map(re.escape, shapes)) + "]"
        return raw if there == letter else re.escape(there)

    def _class(self) -> str:
        start = self.place
        self.place += 1
        negated = self.pattern.startswith("^", self.place)
        self.place += negated
        further: list[str] = []
        first, former, ranges = True, "", False
        while self.place < len(self.pattern) and (self.pattern[self.place] != "]" or first):
            first = False
            if posix := re.compile(r"\[:[^\]]*:\]").match(self.pattern, self.place):
                self.place, former = posix.end(), ""
                continue
            if self.pattern[self.place] == "\\":
                letter = self._escape()[1] or ""
            else:
                letter = self.pattern[self.place]
                self.place += 1
                if letter == "-" and former and self.pattern[self.place : self.place + 1] not in ("]", ""):
                    ranges = True
                    continue
            if ranges and former and letter:
                further += [shape for sign in _beyond(former, letter) for shape in self._images(sign)]
            elif letter:
                self.listed.append(letter)
                further += self._images(letter)
            former, ranges = ("" if ranges else letter), False
        body = self.pattern[start : self.place]
        self.place += 1
        if self.place > len(self.pattern):
            return body  # it never ends: the pattern cannot be compiled anyway
        more = [] if negated or self.negative[-1] else dict.fromkeys(further)
        return body + "".join(map(re.escape, more)) + "]"

    def _images(self, letter: str) -> list[str]:
        """The shapes of a character in a class that is no plain one."""
        if letter.isascii():
            return []
        there = written(letter, self.parts)
        return [] if not there or len(there) > 1 else [sign for sign in shapes_of(there, self.parts) if sign != letter]


def _beyond(first: str, last: str) -> list[str]:
    """The blanks of other widths and full-width letters in a range of characters: what the normal form makes plain."""
    special = [*SPACES, *(chr(code) for code in range(0xFF01, 0xFF5F))]
    return [sign for sign in special if first <= sign <= last and ord(first) > 0x7F]
