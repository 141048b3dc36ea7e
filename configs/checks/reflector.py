"""Checks of the task `reflector`: whether a quote is one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
# In the languages of the logs; where several have as many entries, the first counts.
NAMES = [
    names.split()
    for names in (
        "Monday Tuesday Wednesday Thursday Friday Saturday Sunday",
        "Montag Dienstag Mittwoch Donnerstag Freitag Samstag Sonntag",
        "lundi mardi mercredi jeudi vendredi samedi dimanche",
        "lunes martes miércoles jueves viernes sábado domingo",
        "lunedì martedì mercoledì giovedì venerdì sabato domenica",
        "maandag dinsdag woensdag donderdag vrijdag zaterdag zondag",
        "måndag tisdag onsdag torsdag fredag lördag söndag",
        "mandag tirsdag onsdag torsdag fredag lørdag søndag",
        "segunda terça quarta quinta sexta sábado domingo",
        "poniedziałek wtorek środa czwartek piątek sobota niedziela",
    )
]


def quotes_of_their_days(
    text: str, expect: Mapping[str, Any], captures: Mapping[str, Sequence[str]], asked: str
) -> bool | tuple[float, str]:
    """Each quote stands in the log, in the entry of the day that it is said to be from, and the days differ.

    An entry begins where a line or a sentence begins with the name of a day, in whichever language has most entries, or with
    its first three letters.
    """
    quotes = list(zip(captures.get("day", ()), captures.get("quote", ()), strict=False))
    if not expect["quotes"]:
        return (0.0, "a quote where nothing was logged") if quotes else True
    entries = entries_of(asked)
    good = {day for day, quote in quotes if _plain(quote).strip(' ."…') in entries.get(day, "")}
    most = max(len(quotes), expect["quotes"])
    return (
        True
        if len(good) == most
        else (len(good) / most, f"{len(good)} of {most} quotes stand in the entry of their day")
    )


def entries_of(log: str) -> dict[str, str]:
    """What was logged on each day, whichever language names most of them."""
    return max((_entries(log, dict(zip(DAYS, names, strict=True))) for names in NAMES), key=len)


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
