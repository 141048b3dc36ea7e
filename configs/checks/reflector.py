"""Checks of the task `reflector`: whether a quote is one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

DAYS = {name[:3]: name for name in ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")}


def quotes_of_their_days(
    text: str, expect: Mapping[str, Any], captures: Mapping[str, Sequence[str]]
) -> bool | tuple[float, str]:
    """Each quote stands in the log, in the entry of the day that it is said to be from, and the days differ.

    `expect.day_names` are the days' names in the log where they are not English. An entry begins where a line or a sentence
    begins with the name of a day or its first three letters.
    """
    quotes = list(zip(captures.get("day", ()), captures.get("quote", ()), strict=False))
    if not expect["quotes"]:
        return (0.0, "a quote where nothing was logged") if quotes else True
    entries = _entries(expect["log"], expect.get("day_names", DAYS))
    good = {day for day, quote in quotes if _plain(quote).strip(' ."…') in entries.get(day, "")}
    most = max(len(quotes), expect["quotes"])
    return (
        True
        if len(good) == most
        else (len(good) / most, f"{len(good)} of {most} quotes stand in the entry of their day")
    )


def _entries(log: str, names: Mapping[str, str]) -> dict[str, str]:
    """What was logged on each day."""
    found: dict[str, str] = {}
    spelt = "|".join(f"(?P<{day}>{re.escape(name)}|{re.escape(name[:3])})" for day, name in names.items())
    starts = list(
        re.finditer(rf"(?:^[^\w\n]{{0,4}}|(?<=[.!?] ))(?:{spelt})\b(?=\s?[:.,\s-])", log, re.IGNORECASE | re.MULTILINE)
    )
    for place, start in enumerate(starts):
        end = starts[place + 1].start() if place + 1 < len(starts) else len(log)
        day = str(start.lastgroup)
        found[day] = f"{found.get(day, '')} {_plain(log[start.start() : end])}".strip()
    return found


def _plain(text: str) -> str:
    signs = str.maketrans("‘’“”„«»–—−\u00a0\u202f", '\'\'"""""---  ')
    return " ".join(unicodedata.normalize("NFC", text).translate(signs).casefold().split())
