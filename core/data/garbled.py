"""Texts that were damaged before they came here: read in a wrong encoding, or a program's word for a cell that was empty."""

from __future__ import annotations

import re

REPLACED = "\ufffd"
# Behind capitals it may be a capital and a closing quote: “AMANHÔ.
_RUN = re.compile(r"(?<![A-Z])[^\x00-\x7f]{2,}")
# What is often spoilt: Latin, Greek, Cyrillic, Hebrew, Arabic, punctuation, emoji. Signs of other scripts count from two on:
# one of them is also a letter with a quote and an ellipsis behind it.
_OFTEN = re.compile("[\u0080-\u017f\u0370-\u045f\u05d0-\u06ff\u2000-\u22ff\ufeff\U0001f000-\U0001faff]")
_SCRIPT = re.compile("[\u0900-\u1fff\u3000-\ud7ff\uff00-\uff9f]{2}")
# What programs write as text where they had nothing: pandas, Python, SQL, spreadsheets, JavaScript.
FILLED = frozenset(("nan", "none", "null", "n/a", "#n/a", "<na>", "nat", "undefined", "nil", "[object object]"))


def is_garbled(text: str) -> bool:
    """True of a text with signs that stand where letters were lost (U+FFFD), or that is UTF-8 read as Latin (`cafÃ©`)."""
    if text.isascii():
        return False
    return REPLACED in text or any(_was_utf8(run) for run in _RUN.findall(text))


def garbled_word(text: str) -> str:
    """The first word of a text that is garbled; empty where none is."""
    return next((word for word in text.split() if is_garbled(word)), "")


def is_filled(text: str) -> bool:
    """True of a text that is all of an answer and only says that there is none: `nan`, `NULL`."""
    return text.strip().lower() in FILLED


def _was_utf8(run: str) -> bool:
    """True of signs whose bytes, in the encoding that they were read in, are UTF-8 of others."""
    try:
        found = b"".join(_byte(sign) for sign in run).decode()
    except (UnicodeEncodeError, UnicodeDecodeError):
        return False
    return len(found) < len(run) and bool(_OFTEN.match(found) or _SCRIPT.match(found))


def _byte(sign: str) -> bytes:
    """The byte that Windows-1252 shows as the sign. It has none for five bytes, which are read as control characters."""
    return bytes((ord(sign),)) if 0x80 <= ord(sign) < 0xA0 else sign.encode("cp1252")
