"""`contains_any`, `contains_all`, `not_contains`: plain strings that are, or are not, in the answer.

The whole answer is looked through; with `of` what was captured under a name, with `section` what stands below a heading.
A value of `expect.KEY` may be a list of its own: spellings of one thing (`[3 May, "May 3", 05-03]`), of which one is enough.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Literal

from core.checks.base import Captures, CheckFault, CheckResult, Values, lookup
from core.checks.lookalikes import alike_within
from core.checks.normal_form import Parts, parts_for, plain
from core.checks.pieces import PiecesDefinition, pieces

# Of the values, so many characters stand in the id of a check that was given none.
MAX_ID_VALUE = 24


_ONE_TEXT = "\n"

# Spellings of one thing.
Spellings = tuple[str, ...]


class _ContainsDefinition(PiecesDefinition):
    """`whole`: a value counts where it stands by itself only, not within a longer word or number ("12" is not in "112",
    "12.5" or "1,012")."""

    UNHASHED_DEFAULTS: ClassVar[tuple[str, ...]] = ("whole", "of", "section", "forgive")

    values: Values
    case_sensitive: bool = False
    whole: bool = False

    def default_id(self) -> str:
        """ "contains_any: Exeter…": with the first of the values, or the key that holds them."""
        first = self.values if isinstance(self.values, str) else self.values[0]
        shown = " ".join(first.split())
        whole = isinstance(self.values, str) or len(self.values) == 1
        if len(shown) > MAX_ID_VALUE:
            shown, whole = shown[:MAX_ID_VALUE].rstrip(), False
        where = f" in {self.section or self.of}" if self.where else ""
        return f"{super().default_id()}{where}: {shown}{'' if whole else '…'}"[:60]


class ContainsAnyCheck(_ContainsDefinition):
    check: Literal["contains_any"]


class ContainsAllCheck(_ContainsDefinition):
    check: Literal["contains_all"]


class NotContainsCheck(_ContainsDefinition):
    check: Literal["not_contains"]


def score_contains(
    definition: ContainsAnyCheck | ContainsAllCheck | NotContainsCheck,
    text: str,
    expect: Mapping[str, Any],
    captures: Captures,
    timeout: float,
) -> CheckResult:
    """1 when any, all or none of the values are in what is looked through (both in the normal form); 0 when that is not
    there. Partial: the share that is right."""
    values = _values(definition.values, expect)
    texts = pieces(definition, text, captures) if definition.where else [text]
    if not texts:
        return CheckResult(0.0, f"no {definition.where} found")
    text = _ONE_TEXT.join(texts)
    present = [value for value in values if any(_is_in(spelling, texts, definition) for spelling in value)]
    absent = [value for value in values if value not in present]
    if definition.check == "contains_any":
        return (
            CheckResult(1.0)
            if present
            else CheckResult(0.0, f"none of {_list(values)}{_alike(values, text, definition)}")
        )
    wrong = absent if definition.check == "contains_all" else present
    if not wrong:
        return CheckResult(1.0)
    share = 1 - len(wrong) / len(values) if definition.partial else 0.0
    if wrong is absent:
        return CheckResult(share, f"{_list(wrong)} missing{_alike(wrong, text, definition)}")
    return CheckResult(share, f"{_list(wrong)} not wanted")


def _is_in(value: str, texts: Sequence[str], definition: _ContainsDefinition) -> bool:
    parts = parts_for(value, definition.parts)
    wanted = _fold(value, parts, definition.case_sensitive)
    folded = (_fold(text, parts, definition.case_sensitive) for text in texts)
    if not definition.whole:
        return any(wanted in text for text in folded)
    return any(_by_itself(wanted).search(text) for text in folded)


@lru_cache(maxsize=256)
def _by_itself(value: str) -> re.Pattern[str]:
    """The value with nothing before and behind it that makes a longer word or number of it. Searched in linear time."""
    before = r"(?<!\w)" if re.match(r"\w", value) else ""
    behind = r"(?!\w)" if re.search(r"\w\Z", value) else ""
    before += r"(?<!\d[.,'])" if re.match(r"\d", value) else ""
    behind += r"(?![.,']\d)" if re.search(r"\d\Z", value) else ""
    return re.compile(f"{before}{re.escape(value)}{behind}")


def _alike(values: list[Spellings], text: str, definition: _ContainsDefinition) -> str:
    """What of the text only looks like one of the values, if anything does."""
    spellings = [spelling for value in values for spelling in value if not _is_in(spelling, [text], definition)]
    found = (alike_within(text, spelling, case_sensitive=definition.case_sensitive) for spelling in spellings)
    return next(filter(None, found), "")


def _values(values: tuple[str, ...] | str, expect: Mapping[str, Any]) -> list[Spellings]:
    """Each value with its spellings."""
    if not isinstance(values, str):
        return [(value,) for value in dict.fromkeys(values)]
    found = lookup(values, expect)
    listed = found if isinstance(found, list | tuple) else [found]
    spelt = [item if isinstance(item, list | tuple) else [item] for item in listed]
    if not spelt or not all(spellings and all(map(_is_value, spellings)) for spellings in spelt):
        raise CheckFault(f"{values} is {found!r}: a string or a list of strings is expected")
    return list(dict.fromkeys(tuple(map(str, spellings)) for spellings in spelt))


def _is_value(item: object) -> bool:
    return isinstance(item, str | int | float) and str(item) != ""


def _fold(text: str, parts: Parts, case_sensitive: bool) -> str:
    normal = plain(text, parts)
    return normal if case_sensitive else normal.casefold()


def _list(values: list[Spellings], most: int = 3) -> str:
    shown = ", ".join(f"“{value[0]}”" for value in values[:most])
    return f"{shown} and {len(values) - most} more" if len(values) > most else shown
