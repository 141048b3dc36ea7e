"""Checks of the task `planner`: whether the dates of a plan can be kept. What else makes it a plan is for other checks."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping, Sequence
from typing import Any

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
TODAY = re.compile(rf"^today:(?: +[^\W\d]+,?)? +(\d{{1,2}}) ({'|'.join(MONTHS)})[a-z]* (\d{{4}})\b", re.MULTILINE)
STEP = re.compile(rf"^\d+\. by (\d{{1,2}}) ({'|'.join(MONTHS)})\b", re.MULTILINE)
DUE = re.compile(r"^Due: (?:(\d{4})-(\d\d)-(\d\d)|none)[ \t]*$", re.MULTILINE)
YEAR = datetime.timedelta(days=365)


def dates_can_be_kept(
    text: str, expect: Mapping[str, Any], captures: Mapping[str, Sequence[str]], asked: str
) -> bool | tuple[float, str]:
    """All dates exist, and lie in order from `today:` of the input to Due, or within a year where nothing is due. The share is
    that of the dates; a plan without any passes, and what has no line for Due is none.

    A step says no year: meant is the first such day from the step in front of it on, or from today. A date that is out of order
    or before today is thus read as one of the next year, and lies behind the last that may be.
    """
    line, said = DUE.search(text), TODAY.search(asked)
    if line is None:
        return 0.0, "no line for Due"
    today = None if said is None else _day(int(said[3]), MONTHS.index(said[2]) + 1, int(said[1]))
    due = None if line[1] is None else _day(int(line[1]), int(line[2]), int(line[3]))
    wrong = []
    if line[1] is not None and due is None:
        wrong.append("Due is a day that does not exist")
    elif due is not None and today is not None and due < today:
        wrong.append("Due is before today")
        due = None
    earliest = today or (due and due - YEAR)
    latest = due or (earliest and earliest + YEAR)
    steps = STEP.findall(text)
    for day, month in steps:
        number = MONTHS.index(month) + 1
        if _day(2024, number, int(day)) is None:
            wrong.append("a step has a day that does not exist")
        elif earliest is not None and latest is not None:
            found = _first(earliest, number, int(day))
            if found is None or found > latest:
                wrong.append("a step is out of order, before today or after Due")
            else:
                earliest = found
    dates = len(steps) + (line[1] is not None)
    return (1 - len(wrong) / dates, wrong[0]) if wrong else True


def _first(earliest: datetime.date, month: int, day: int) -> datetime.date | None:
    """The first such day from a date on, within its year or the next one; None where neither has it."""
    days = (_day(year, month, day) for year in (earliest.year, earliest.year + 1))
    return next((found for found in days if found is not None and found >= earliest), None)


def _day(year: int, month: int, day: int) -> datetime.date | None:
    try:
        return datetime.date(year, month, day)
    except ValueError:
        return None
