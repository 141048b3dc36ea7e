"""Figures of a leaderboard as text: differences, intervals, p-values and counts."""

from __future__ import annotations

from core.statistics.paired import Interval

MINUS = "−"
DASH = "—"


def signed(difference: float) -> str:
    """A difference on the scale of five, with its sign: "+4.63", "−0.02", and "0.00" without one."""
    text = f"{abs(5 * difference):.2f}"
    if float(text) == 0:
        return text
    return f"{'+' if difference > 0 else MINUS}{text}"


def bounds(interval: Interval) -> str:
    """The interval on the scale of five, as [4.31, 4.95], or the reason why there is none, in brackets.

    It is shown up to what is possible, −5 to 5: a t interval knows of no such ends. (That of a score ends at 0 and 5
    when it is made.) The figures of `Leaderboard.to_json` stay as they are.
    """
    if interval.low is None or interval.high is None:
        return f"({interval.reason})"
    low, high = (f"{5 * min(1.0, max(-1.0, end)):.2f}".replace("-", MINUS) for end in (interval.low, interval.high))
    return f"[{low}, {high}]"


def clipped(interval: Interval) -> bool:
    """True when `bounds` shows an end of it nearer than it is."""
    ends = (interval.low or 0.0, interval.high or 0.0)
    return any(abs(end) > 1.001 for end in ends)  # less than that does not show in two digits


def p_value(p: float) -> str:
    """ "0.0005", two significant digits; "< 0.0001" below that."""
    if p < 0.0001:
        return "< 0.0001"
    digits = 2 if p >= 0.1 else 3 if p >= 0.01 else 4
    return f"{p:.{digits}f}"


def count(number: int, noun: str) -> str:
    """ "1 input", "13 inputs"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
