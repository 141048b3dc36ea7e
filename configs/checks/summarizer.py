"""Checks of the task `summarizer`: whether a summary has figures of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

WORDS = {
    word: number
    for words in (
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
        "eighteen nineteen twenty",
        "null eins zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn sechzehn siebzehn "
        "achtzehn neunzehn zwanzig",
    )
    for number, word in enumerate(words.split())
} | {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "hundred": 100}
# As percentages.
FRACTIONS = {
    "half": 50,
    "hälfte": 50,
    "third": 33,
    "thirds": 67,
    "quarter": 25,
    "quarters": 75,
    "fifth": 20,
    "tenth": 10,
}


def figures_of_text(
    text: str, expect: Mapping[str, Any], captures: Mapping[str, Sequence[str]], asked: str
) -> bool | tuple[float, str]:
    """Each figure of the summary stands in the text, as digits or as a word or a fraction; the share is that of its figures.

    `_statement` is what was written in the form that is asked for: what was not is no summary, nor is "No text." of a text.
    """
    said = captures.get("_statement", ())
    if not said or (expect["points"] and list(said) == ["No text."]):
        return 0.0, "no summary"
    known = _stated(asked)
    spelt = WORDS | FRACTIONS
    known |= {float(spelt[word]) for word in re.findall(r"\w+", asked.casefold()) if word in spelt}
    found = [token for part in said for token in _numbers(part)]
    wrong = [token for token in found if not token & known]
    return (1 - len(wrong) / len(found), f"{len(wrong)} × a figure that is not in the text") if wrong else True


def _stated(text: str) -> set[float]:
    """All numbers that a text can be read to have; in `3,1250` of a list or a CSV file both parts, too."""
    return {value for token in _numbers(text) for value in token} | {
        float(one) for one in re.findall(r"\d+(?:\.\d+)?", text)
    }


def _numbers(text: str) -> Iterator[set[float]]:
    """The numbers of a text, each in the ways it can be read: `1,204` is 1204 or 1.204, `2.300` is 2300 or 2.3."""
    joined = re.sub(r"(?<=\d)[ \u00a0\u202f'](?=\d{3}(?!\d))", "", text)
    for token in re.findall(r"\d+(?:[.,]\d+)*", joined):
        ways = {token.replace(",", ".")}
        if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", token):
            ways.add(token.replace(",", ""))
        if re.fullmatch(r"\d{1,3}(?:\.\d{3})+(?:,\d+)?", token):
            ways.add(token.replace(".", "").replace(",", "."))
        # A version such as 5.8.0 is no number: its digits stand for it.
        yield {float(way) for way in ways if way.count(".") < 2} or {float(re.sub(r"[.,]", "", token))}
