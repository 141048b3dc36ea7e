"""Two texts that look alike and are not equal: the sign that differs, by its Unicode name and code point.

They look alike when they are equal in the normal form with all its parts, in compatibility form, and with letters of other
alphabets that look like Latin ones (Cyrillic а, Greek ο) taken for these. Checks count them as different all the same.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Protocol

from core.checks.base import CheckFault
from core.checks.normal_form import ALL, plain, written
from core.checks.patterns import Flag, Stopwatch, compile_shaped, search

# The texts that are kept are those of answers, not each letter of them.
_plain, _written = plain.__wrapped__, written.__wrapped__
# Beyond it an answer that lacks something is not looked through for what only looks like it.
MAX_CHARACTERS = 50_000
_HOMOGLYPHS = str.maketrans(
    "АВЕЅІЈКМНОРСТУХҮԌԚԜаеѕіјорсухһԁԛԝүӏ" + "ΑΒΕΖΗΙΚΜΝΟΡΤΥΧορνικαυϲϳ" + "ՕօսհᎪᏟᎬɡɩıꓮ" + "∼⁄∕⋅∙•٫`\t",
    "ABESIJKMHOPCTYXYGQWaesijopcyxhdqwyl" + "ABEZHIKMNOPTYXopvikaucj" + "OouhACEgiiA" + "~//···,' ",
)


class PatternDefinition(Protocol):
    """What is used of a check with a pattern."""

    @property
    def pattern(self) -> str: ...

    @property
    def case_sensitive(self) -> bool: ...


def alike_as_whole(have: str, want: str, *, case_sensitive: bool) -> str:
    """` (CYRILLIC SMALL LETTER A (U+0430) where LATIN SMALL LETTER A (U+0061) is expected)` of texts that look
    alike, else empty."""
    if not _may_deceive(have + want):
        return ""
    if have == want or _one_blank(_looks(have, case_sensitive)) != _one_blank(_looks(want, case_sensitive)):
        return ""
    return _difference(have, want, case_sensitive)


def alike_within(text: str, want: str, *, case_sensitive: bool) -> str:
    """As `alike_as_whole`, for a part of the text that looks like what is wanted."""
    if not _may_deceive(text + want):
        return ""
    clusters = _clusters(text[:MAX_CHARACTERS])
    looks = [_looks(cluster, case_sensitive) for cluster in clusters]
    wanted = _looks(want, case_sensitive)
    start = "".join(looks).find(wanted) if wanted else -1
    if start < 0:
        return ""
    place, have = 0, ""
    for cluster, look in zip(clusters, looks, strict=True):
        if place + len(look) > start and place < start + len(wanted):
            have += cluster
        place += len(look)
    return _difference(have, want, case_sensitive) if have != want else ""


def alike_for_pattern(
    definition: PatternDefinition,
    text: str,
    watch: Stopwatch,
    *,
    flags: tuple[Flag, ...] = (),
    multiline: bool = False,
) -> str:
    """What of the text only looks like what the pattern asks for: the first sign of it that is another one; empty where nothing
    does, and where the time for patterns is over."""
    if (text.isascii() and "\r" not in text and definition.pattern.isascii()) or len(text) > MAX_CHARACTERS:
        return ""
    clusters = _clusters(text)
    looks = [_written(cluster, ALL).translate(_HOMOGLYPHS) for cluster in clusters]
    asked = definition.pattern.translate(_HOMOGLYPHS)
    try:
        pattern = compile_shaped(asked, ALL, multiline=multiline, case_sensitive=definition.case_sensitive, flags=flags)
        match = search(pattern, "".join(looks), watch)
    except (CheckFault, ValueError):
        return ""
    if match is None:
        return ""
    place, others = 0, ""
    for cluster, look in zip(clusters, looks, strict=True):
        inside = place + max(len(look), 1) > match.start() and place < match.end()
        place += len(look)
        if inside and (cluster != look or _plain(cluster, ALL) != cluster):
            others += "".join(letter for letter in cluster if not letter.isascii() or letter == "\r")
    # A sign that the pattern has, too, is not the one that differs.
    if sign := next((letter for letter in others if letter not in definition.pattern), others[:1]):
        return f" ({sign_words(sign)} only looks like what is asked for)"
    theirs = (letter for letter in definition.pattern if _plain(letter, ALL).translate(_HOMOGLYPHS) != letter)
    return f" (the pattern has {sign_words(sign)})" if (sign := next(theirs, "")) else ""


def _may_deceive(text: str) -> bool:
    """True of a text with signs that can look like others."""
    return not text.isascii() or any(sign in text for sign in ("\r", "\t", "`", "  "))


def _one_blank(text: str) -> str:
    """The text with one blank where there are several: in a line of a table nobody counts them."""
    return re.sub(" {2,}", " ", text)


def sign_words(sign: str) -> str:
    """`CYRILLIC SMALL LETTER A (U+0430)`."""
    named = {"\r": "CARRIAGE RETURN", "\n": "LINE FEED", "\t": "TAB"}.get(sign)
    return f"{named or unicodedata.name(sign, 'a character without a name')} (U+{ord(sign):04X})"


def _difference(have: str, want: str, case_sensitive: bool) -> str:
    """The first signs that differ. Case is no difference where it does not matter."""
    for ours, theirs in zip(have, want, strict=False):
        if ours == theirs or (not case_sensitive and ours.casefold() == theirs.casefold()):
            continue
        return f" ({sign_words(ours)} where {sign_words(theirs)} is expected)"
    shorter = min(len(have), len(want))
    if len(have) > shorter:
        return f" ({sign_words(have[shorter])} where nothing is expected)"
    return f" ({sign_words(want[shorter])} is missing)" if len(want) > shorter else ""


@lru_cache(maxsize=8192)  # of answers it is asked letter by letter
def _looks(text: str, case_sensitive: bool) -> str:
    """What the text looks like: equal texts of it look alike."""
    look = _plain(unicodedata.normalize("NFKC", _plain(text, ALL)), ALL).translate(_HOMOGLYPHS)
    return look if case_sensitive else look.casefold()


@lru_cache(maxsize=4)
def _clusters(text: str) -> list[str]:
    import regex

    return list(regex.findall(r"\X", text))
