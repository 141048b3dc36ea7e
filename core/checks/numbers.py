"""Numbers as people and models write them: `4.2`, `4,2`, `1.234,5`, `½`, `4/5`, `−3`, `1e3`, `85 %`.

A sign of percent, bold marks and a closing full stop are left off; what has other words or units is no number. A comma or a
point by itself with three digits behind it, as in `1,234`, is read by what the check says parts the decimals.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal

from core.checks.normal_form import ALL, plain

Decimal = Literal["point", "comma"]

MAX_CHARACTERS = 60
_PARTS = re.compile(r"(?P<sign>[+-]?)(?P<body>[0-9][0-9.,' ]*|[.,][0-9]+)(?:[eE](?P<power>[+-]?[0-9]{1,3}))?")
_FRACTION = re.compile(r"(?P<sign>[+-]?)(?:(?P<whole>[0-9]{1,15}) )?(?P<over>[0-9]{1,15}) ?/ ?(?P<under>[0-9]{1,15})")
_GROUPS = {mark: re.compile(rf"[1-9][0-9]{{0,2}}(?:{re.escape(mark)}[0-9]{{3}})+") for mark in ".,' "}
_SIGNS = str.maketrans({"\u066b": ".", "\u066c": ",", "\u2044": "/", "\u2215": "/", "\u2019": "'", "\u02d9": "'"})


def read_number(text: str, decimal: Decimal = "point") -> float | None:
    """The number that a text is, or None of a text that is none (`nan`, `inf`, words, units, ranges such as `3-4`)."""
    if len(text) > MAX_CHARACTERS:
        return None
    body = _digits(plain(text, ALL)).translate(_SIGNS).strip().strip("*_`").strip()
    body = body.removesuffix("%").rstrip() if body.endswith("%") else body
    if fraction := _FRACTION.fullmatch(body):
        under = int(fraction["under"])
        value = int(fraction["whole"] or 0) + int(fraction["over"]) / under if under else None
        return None if value is None else _signed(value, fraction["sign"])
    if body.endswith((".", ",")) and body[:-1][-1:].isdigit():
        body = body[:-1]
    parts = _PARTS.fullmatch(body)
    digits = None if parts is None else _plain_digits(parts["body"], decimal)
    if parts is None or digits is None:
        return None
    value = float(f"{digits}e{parts['power'] or 0}")
    return _signed(value, parts["sign"]) if value != float("inf") else None


def _signed(value: float, sign: str) -> float:
    return -value if sign == "-" else value


def _digits(text: str) -> str:
    """The digits of all scripts as those of ASCII, and a sign that is a fraction as `1/2`, apart from a whole before it."""
    made = ""
    for letter in text:
        if (digit := unicodedata.decimal(letter, None)) is not None:
            made += str(digit)
        elif unicodedata.category(letter) == "No" and "\u2044" in (parts := unicodedata.normalize("NFKD", letter)):
            made += (" " if made[-1:].isdigit() else "") + parts
        else:
            made += letter
    return made


def _plain_digits(body: str, decimal: Decimal) -> str | None:
    """The digits with a point before the decimals and nothing between thousands; None where the marks make no sense."""
    point, comma = body.count("."), body.count(",")
    if point and comma:
        mark = "." if body.rindex(".") > body.rindex(",") else ","
    elif point > 1 or comma > 1:
        mark = ""  # of thousands, all of them
    elif point or comma:
        only = "." if point else ","
        mark = "" if only != {"point": ".", "comma": ","}[decimal] and _GROUPS[only].fullmatch(body) else only
    else:
        mark = ""
    whole, _, rest = body.partition(mark) if mark else (body, "", "")
    if rest and not rest.isdigit():
        return None
    if not whole.isdigit() and whole:
        groups = [groups for groups in _GROUPS.values() if groups.fullmatch(whole)]
        if not groups:
            return None
        whole = re.sub(r"[.,' ]", "", whole)
    return f"{whole or 0}.{rest or 0}"
