"""Checks of the task `analyst`: whether the findings are true of the figures."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ROSE = re.compile(
    r"\b(?:rose|rise[ns]?|rising|grew|grown|grows?|increas\w+|gain\w*|climb\w*|higher|up|more)\b", re.IGNORECASE
)
FELL = re.compile(
    r"\b(?:fell|falls?|fallen|falling|dropp?\w*|declin\w+|decreas\w+|shrank|shrunk|los[ts]\w*|lower|down|fewer|less|short\w+)\b",
    re.IGNORECASE,
)
HIGH = re.compile(r"\b(?:highest|most|largest|biggest|greatest|peak\w*|maximum|busiest|best)\b", re.IGNORECASE)
LOW = re.compile(r"\b(?:lowest|fewest|least|smallest|weakest|minimum|quietest|worst)\b", re.IGNORECASE)


def findings_true(
    text: str, expect: Mapping[str, Any], captures: Mapping[str, Sequence[str]], asked: str
) -> bool | tuple[float, str]:
    """Each finding has figures of the input or of the results alone, and does not contradict them.

    A contradiction is seen where a finding names one label: its figure is another one's, or it is called highest or lowest
    and is not; and where the change comes with a word for the other direction. Labels are compared where the table can be
    read: where its rows add up to the total that is expected.
    """
    findings = re.findall(r"^\d\.[ \t]+(.+)$", text, re.MULTILINE)
    if not expect["findings"]:
        return (0.0, "a finding without figures") if findings else True
    figures = figures_of(asked, expect["total"])
    known = {abs(float(value)) for value in (expect["total"], expect["change"]) if not isinstance(value, str)}
    known |= _stated(asked) | ({float(len(figures))} if figures else set())
    reasons = [_wrong(finding, figures, known, expect) for finding in findings]
    most = max(len(findings), expect["findings"])
    good = sum(not reason for reason in reasons)
    first = next(filter(None, reasons), f"{len(findings)} findings, {expect['findings']} expected")
    return True if good == most else (good / most, first)


def figures_of(table: str, total: Any) -> dict[str, float]:
    """The rows of a table by their labels, read as columns, as `label: figure`, as JSON or as parts of a sentence: in whichever
    way they add up to the total, with at most one row left out (a sum). Empty where none does."""
    plain = re.sub(r"\([^()\n]*\)", "", table).replace("\u2212", "-")
    lines = [line.strip().strip("|") for line in plain.splitlines()]
    ways = [[re.split(sign, line) for line in lines] for sign in (r"\|", ";", "\t", ",", ":", r"\s{2,}")]
    ways.append([list(pair) for pair in re.findall(r'"([^"]+)"\s*:\s*(-?\d+(?:\.\d+)?)', plain)])
    ways.append([re.split(r"\s+(?=-?\d\S*$)", part) for part in re.split(r"[,;:.]\s+|\n", plain)])
    for cells in ways:
        rows = [(row[0].strip(), _figure(row[-1])) for row in cells if len(row) > 1]
        found = [(label, figure) for label, figure in rows if label and figure is not None]
        for left_out in (None, *range(len(found))):
            kept = [row for place, row in enumerate(found) if place != left_out]
            if len(kept) > 1 and not isinstance(total, str) and abs(sum(row[1] for row in kept) - total) < 0.001:
                return dict(kept)
    return {}


def _figure(cell: str) -> float | None:
    """The number with which a cell begins."""
    found = re.match(r"\s*(-?\d+(?:[ \u00a0\u202f']\d{3})*(?:[.,]\d+)*)(?!\w)", cell)
    if found is None:
        return None
    digits = re.sub(r"[ \u00a0\u202f']", "", found[1])
    thousands = re.fullmatch(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?", digits)
    written = digits.replace(",", "" if thousands else ".")
    return float(written) if written.count(".") < 2 else None


def _wrong(finding: str, figures: Mapping[str, float], known: set[float], expect: Mapping[str, Any]) -> str:
    """Why the finding is not true; empty when nothing speaks against it."""
    named, rest = [], finding
    for label in sorted(figures, key=len, reverse=True):  # "North Sea" before "North"
        spelt = re.compile(rf"(?<!\w){re.escape(label)}(?!\w)", re.IGNORECASE)
        if spelt.search(rest):
            named.append(label)
            rest = spelt.sub(" ", rest)
    change = expect["change"]
    results = {abs(float(value)) for value in (expect["total"], change) if not isinstance(value, str)}
    numbers = list(_numbers(rest))
    if not numbers:
        return "" if named and any(sign.isdigit() for sign in finding) else "a finding has no figure"
    if any(not token & known for token in numbers):
        return "a finding has a figure that neither the table nor the results have"
    if isinstance(change, int | float) and change and any(abs(change) in token for token in numbers):
        wrong = FELL if change > 0 else ROSE
        right = ROSE if change > 0 else FELL
        if wrong.search(rest) and not right.search(rest):
            return "a finding has the change in the wrong direction"
    if len(named) != 1:
        return ""
    own = figures[named[0]]
    others = {abs(figure) for figure in figures.values()} - {abs(own)} - results
    if len(numbers) == 1 and numbers[0] & others and abs(own) not in numbers[0]:
        return "a finding gives a label another one's figure"
    high, low = HIGH.search(rest) is not None, LOW.search(rest) is not None
    if high != low and own != (max if high else min)(figures.values()):
        return "a finding calls a label highest or lowest that is not"
    return ""


def _stated(text: str) -> set[float]:
    """All numbers that a text can be read to have; in `3,1250` of a list or a CSV file both parts, too."""
    return {value for token in _numbers(text) for value in token} | {
        float(one) for one in re.findall(r"\d+(?:\.\d+)?", text)
    }


def _numbers(text: str) -> Iterator[set[float]]:
    """The numbers of a text without their signs, each in the ways it can be read: `1,204` is 1204 or 1.204."""
    joined = re.sub(r"(?<=\d)[ \u00a0\u202f'](?=\d{3}(?!\d))", "", text)
    for token in re.findall(r"\d+(?:[.,]\d+)*", joined):
        ways = {token.replace(",", ".")}
        if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", token):
            ways.add(token.replace(",", ""))
        # A version such as 5.8.0 is no number: its digits stand for it.
        yield {float(way) for way in ways if way.count(".") < 2} or {float(re.sub(r"[.,]", "", token))}
