"""`lines`, `words`, `characters`: how long the answer is, or each text that was captured, or each section of a name.

What is counted: lines that are not blank; words between blanks that have a letter or digit (in Chinese and Japanese, which
write none, each character is one; `|` and a long dash part words, too); characters as a reader counts them, so that a letter
with its marks or an emoji is one, of the text without the white space around it. Markup counts as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from core.checks.base import BaseDefinition, Captures, CheckResult, Count
from core.checks.normal_form import Parts, structural
from core.checks.pieces import PiecesDefinition, pieces
from core.checks.ranges import Span, refuse_backwards, span_of
from core.errors import KeyedError

# Scripts that write no blanks between words, as far as each of their characters is counted for a word.
_WIDE = re.compile(
    "[\u3040-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_BREAK = re.compile(r"[\s|\u2014\u2015]+")
_LETTER = re.compile(r"[^\W_]")


class _LengthDefinition(PiecesDefinition):
    FROM_EXPECT: ClassVar[tuple[str, ...]] = ("min", "max")

    min: Count | None = None
    max: Count | None = None

    @model_validator(mode="after")
    def _is_a_range(self) -> _LengthDefinition:
        if self.min is None and self.max is None:
            raise KeyedError("a range needs `min`, `max` or both", remedy="write for example `max: 20`")
        refuse_backwards(self.min, self.max, key="min")
        return self

    def default_id(self) -> str:
        """ "words of reason", "lines below Summary"."""
        if self.section is not None:
            return f"{super().default_id()} below {self.section}"[:60]
        return f"{super().default_id()} of {self.of}" if self.of else super().default_id()


class LinesCheck(_LengthDefinition):
    check: Literal["lines"]


class WordsCheck(_LengthDefinition):
    check: Literal["words"]


class CharactersCheck(_LengthDefinition):
    check: Literal["characters"]


def score_length(
    definition: LinesCheck | WordsCheck | CharactersCheck,
    text: str,
    expect: Mapping[str, Any],
    captures: Captures,
    timeout: float,
) -> CheckResult:
    """1 when every text that is measured is in the range; 0 when there is none to measure.

    Partial: the mean over the texts of how near each is to the range, as the smaller over the larger of its length and the
    bound that it misses.
    """
    span = span_of(definition.min, definition.max, expect)
    texts, where = pieces(definition, text, captures), definition.where
    if not texts:
        return CheckResult(0.0, f"no {where} found")
    count = COUNTERS[definition.check]
    lengths = [count(one, definition.parts) for one in texts]
    wrong = [length for length in lengths if not span.holds(length)]
    if not wrong:
        return CheckResult(1.0)
    share = sum(span.nearness(length) for length in lengths) / len(lengths) if definition.partial else 0.0
    return CheckResult(share, _why(definition, wrong[0], span, where))


def _why(definition: BaseDefinition, length: int, span: Span, where: str) -> str:
    """The same words however long it is, so that answers that fail alike are counted together."""
    unit: str = definition.check  # type: ignore[attr-defined]
    missed = span.low if length < span.low else span.high
    one = unit.removesuffix("s") if missed == 1 else unit
    return f"{span.missed(length)} {one}{f' in {where}' if where else ''}"


def count_lines(text: str, parts: Parts) -> int:
    """The lines that are not blank."""
    return sum(1 for line in structural(text, parts).split("\n") if line.strip())


def count_words(text: str, parts: Parts) -> int:
    """The words between blanks, those without a letter or digit left out. Time is linear in the text."""
    count = 0
    for chunk in _BREAK.split(structural(text, parts)):
        pieces_of = _WIDE.split(chunk)
        count += len(pieces_of) - 1 + sum(1 for piece in pieces_of if _LETTER.search(piece))
    return count


def count_characters(text: str, parts: Parts) -> int:
    """The characters as a reader counts them; where `unicode` is off, the code points."""
    if "lines" in parts:
        text = structural(text, frozenset(("lines",)))
    text = text.strip()
    if text.isascii() or "unicode" not in parts:
        return len(structural(text, parts))
    import regex

    # Joiners belong to the emoji that they join; by themselves, characters of no width count for nothing.
    return sum(1 for cluster in regex.findall(r"\X", text) if cluster.isascii() or structural(cluster, parts))


COUNTERS: Mapping[str, Callable[[str, Parts], int]] = {
    "lines": count_lines,
    "words": count_words,
    "characters": count_characters,
}
