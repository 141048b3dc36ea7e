"""The one normal form in which all checks compare texts: what is equal to a reader is equal to a check.

| part | what becomes the same |
|---|---|
| `unicode` | a letter and its marks, composed or not (NFC); the sign for micro and the Greek letter that it is |
| `lines` | the ends of lines: CR LF, CR, NEL and Unicode's separators are line feeds |
| `spaces` | blanks of every width, the no-break and the ideographic one among them |
| `invisible` | characters of no width (joiners, marks of direction, soft hyphens, variation selectors): left out |
| `dashes` | hyphens, dashes, minus signs |
| `quotes` | single quotes with apostrophes and primes; double quotes with guillemets |
| `width` | full-width letters, digits and signs, and the plain ones |

A check's `normalise` switches: `true` (all, the default), `false` (texts as they are), or a list of parts. Case is no matter of
this form. Two things are compared as written whatever is switched on, in `unicode` and `lines` only: a value without any letter
or digit (`not_contains: ["—"]` means the em dash), and a pattern without any that must not occur (`count: 0`).

In a pattern each sign that is written stands for all its shapes (`core.checks.pattern_shapes`), so that the text, of which a
group captures a part, keeps its dashes and quotes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal, get_args

Part = Literal["unicode", "lines", "spaces", "invisible", "dashes", "quotes", "width"]
PARTS: tuple[Part, ...] = get_args(Part)
Parts = frozenset[Part]
ALL: Parts = frozenset(PARTS)
AS_WRITTEN: Parts = frozenset(("unicode", "lines"))
# Signs with several shapes: the first one is the plain one.
DASHES = "-\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"
SINGLE_QUOTES = "'\u2018\u2019\u201a\u201b\u2032\u00b4\u02bc\u2039\u203a\uff07"
DOUBLE_QUOTES = '"\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb\u301d\u301e\uff02'
SHAPED: tuple[Part, ...] = ("unicode", "dashes", "quotes", "width")
_FULL_WIDTH = 0xFEE0
_LINE_ENDS = re.compile("\r\n|[\r\x85\u2028\u2029]")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0"
    "\U000e0000-\U000e0fff]"
)
SPACES = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_SPACES = str.maketrans(dict.fromkeys(SPACES, " "))
_WORD_WIDTH = {code + _FULL_WIDTH: chr(code) for code in range(0x21, 0x7F) if chr(code).isalnum()}
_SIGN_WIDTH = {code + _FULL_WIDTH: chr(code) for code in range(0x21, 0x7F) if not chr(code).isalnum()}
_SHAPES: Mapping[Part, dict[int, str]] = {
    "unicode": {0xB5: "\u03bc"},  # of the signs that Unicode has twice NFC leaves this one
    "dashes": {ord(sign): "-" for sign in DASHES},
    "quotes": {ord(sign): "'" for sign in SINGLE_QUOTES} | {ord(sign): '"' for sign in DOUBLE_QUOTES},
    "width": {code: sign for code, sign in _SIGN_WIDTH.items() if sign not in "-'\""},
}


@lru_cache(maxsize=16)
def written(text: str, parts: Parts) -> str:
    """The text with its dashes, quotes and signs as they are, all else in the normal form: what patterns are searched in."""
    text = structural(text, parts)
    return text.translate(_WORD_WIDTH) if "width" in parts and not text.isascii() else text


def structural(text: str, parts: Parts) -> str:
    """The text as a markdown parser may read it: nothing in it has become a sign of markdown that was none."""
    if "lines" in parts:
        text = _LINE_ENDS.sub("\n", text)
    if text.isascii():
        return text
    if "invisible" in parts:
        text = _INVISIBLE.sub("", text)
    if "spaces" in parts:
        text = text.translate(_SPACES)
    return unicodedata.normalize("NFC", text) if "unicode" in parts else text


@lru_cache(maxsize=16)
def plain(text: str, parts: Parts) -> str:
    """The text in the normal form."""
    text = written.__wrapped__(text, parts)
    if not text.isascii():
        for part in SHAPED:
            if part in parts:
                text = text.translate(_SHAPES[part])
    return text


def parts_for(value: str, parts: Parts) -> Parts:
    """In which parts a value is compared: one without letters and digits means the very signs it is made of."""
    return parts if any(letter.isalnum() for letter in value) else parts & AS_WRITTEN


@lru_cache(maxsize=512)
def shapes_of(sign: str, parts: Parts) -> str:
    """The shapes of one character that are the same in the normal form, itself first."""
    found = [sign]
    plain_sign = sign
    for part in SHAPED:
        if part in parts:
            plain_sign = plain_sign.translate(_SHAPES[part])
    for part in SHAPED:
        if part in parts:
            found += [chr(code) for code, shape in _SHAPES[part].items() if shape == plain_sign]
    return "".join(dict.fromkeys([*found, plain_sign]))


def is_invisible(letter: str) -> bool:
    return _INVISIBLE.match(letter) is not None


def parts_of(switch: bool | Iterable[Part]) -> Parts:
    """The parts that a check's `normalise` switches on."""
    if isinstance(switch, bool):
        return ALL if switch else frozenset()
    return frozenset(switch)
