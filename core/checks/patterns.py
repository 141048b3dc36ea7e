"""Patterns under a time limit, so that no pattern can hang a scoring.

The PyPI module `regex` takes the syntax of `re` and, unlike it, a timeout. It is imported where it is used.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator

from core.checks.base import CheckFault
from core.checks.normal_form import AS_WRITTEN, Parts
from core.checks.pattern_shapes import has_letters, in_all_shapes, names_invisible

if TYPE_CHECKING:
    from regex import Match
    from regex import Pattern as Compiled

Flag = Literal["dotall", "verbose", "ascii"]

MAX_PATTERN_CHARACTERS = 10_000
# `regex` unfolds `(a{1000}){1000}` when it compiles, at 300 bytes a piece: three such levels would fill any memory.
MAX_UNFOLDED = 50_000
_PIECES = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\{(?P<repeat>[0-9]{1,18})(?:,[0-9]*)?\}|.", re.DOTALL)
# An answer has far fewer; a pattern that matches between all characters of a long one would fill the memory.
MAX_MATCHES = 10_000


def compile_pattern(
    pattern: str, *, multiline: bool = False, case_sensitive: bool = True, flags: tuple[Flag, ...] = ()
) -> Compiled[str]:
    """The compiled pattern; raises ValueError with the place of the fault in a bad one."""
    import regex

    bits = regex.VERSION0
    bits |= regex.MULTILINE if multiline else 0
    bits |= 0 if case_sensitive else regex.IGNORECASE
    for flag in flags:
        bits |= {"dotall": regex.DOTALL, "verbose": regex.VERBOSE, "ascii": regex.ASCII}[flag]
    try:
        return regex.compile(pattern, bits)
    except (regex.error, RecursionError, OverflowError, ValueError) as error:
        raise ValueError(f"the pattern can't be compiled: {error}") from error


def pattern_parts(pattern: str, parts: Parts, count: object) -> Parts:
    """The parts of the normal form in which a pattern is searched. One without letters that must not occur means the very signs
    it is made of, and one that names characters of no width wants to see them."""
    if count == 0 and not has_letters(pattern):
        return parts & AS_WRITTEN
    return parts - {"invisible"} if names_invisible(pattern) else parts


def compile_shaped(
    pattern: str, parts: Parts, *, multiline: bool = False, case_sensitive: bool = True, flags: tuple[Flag, ...] = ()
) -> Compiled[str]:
    """The compiled pattern with each sign in all its shapes, for a text that `normal_form.written` gave."""
    options: dict[str, Any] = {"multiline": multiline, "case_sensitive": case_sensitive, "flags": flags}
    try:
        return compile_pattern(in_all_shapes(pattern, parts, verbose="verbose" in flags), **options)
    except ValueError:
        return compile_pattern(pattern, **options)


def check_pattern(pattern: str) -> str:
    """The pattern itself; ValueError for an empty one and for one that is too large to be compiled."""
    if not pattern:
        raise ValueError("an empty pattern matches everything")
    if len(pattern) > MAX_PATTERN_CHARACTERS:
        raise ValueError(f"the pattern has more than {MAX_PATTERN_CHARACTERS:,} characters")
    if unfolded_size(pattern) > MAX_UNFOLDED:
        raise ValueError(f"the pattern's repeats unfold to more than {MAX_UNFOLDED:,} pieces")
    return pattern


def unfolded_size(pattern: str) -> int:
    """How many pieces (characters, classes, groups) the pattern has when each `{n}` is written out n times."""
    sizes = [0]
    last = 0
    for piece in _PIECES.finditer(pattern):
        if piece["repeat"]:
            repeated = last * max(int(piece["repeat"]), 1)
            sizes[-1] += repeated - last
            last = repeated
            continue
        if piece[0] == "(":
            sizes.append(0)
            continue
        last = sizes.pop() + 1 if piece[0] == ")" and len(sizes) > 1 else 1
        sizes[-1] += last
    return sum(sizes)


# What a definition takes; each compiles it with its own flags.
Pattern = Annotated[str, AfterValidator(check_pattern)]


class Stopwatch:
    """The time that one check of one answer may take with its pattern (or `what` else is asked), over all its searches."""

    def __init__(self, seconds: float, what: str = "the pattern") -> None:
        self.what = what
        self.seconds = seconds
        self.deadline = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left; raises `CheckFault` when there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise self.fault()
        return left

    def fault(self) -> CheckFault:
        return CheckFault(f"{self.what} ran longer than {self.seconds:g} s")


def search(pattern: Compiled[str], text: str, watch: Stopwatch) -> Match[str] | None:
    """The first match; raises `CheckFault` when the time is over."""
    try:
        return pattern.search(text, timeout=watch.remaining())
    except TimeoutError as error:
        raise watch.fault() from error


def find_all(pattern: Compiled[str], text: str, watch: Stopwatch) -> Iterator[Match[str]]:
    """All matches in order; raises `CheckFault` when the time is over or there are absurdly many."""
    try:
        for number, match in enumerate(pattern.finditer(text, timeout=watch.remaining())):
            if number >= MAX_MATCHES:
                raise CheckFault(f"the pattern matches more than {MAX_MATCHES:,} times")
            watch.remaining()
            yield match
    except TimeoutError as error:
        raise watch.fault() from error


def collect_groups(matches: list[Match[str]]) -> dict[str, list[str]]:
    """Named groups of the matches, in document order; a group that took no part in a match adds nothing."""
    captures: dict[str, list[str]] = {}
    for match in matches:
        for name, value in match.groupdict().items():
            if value is not None:
                captures.setdefault(name, []).append(value)
    return captures
