"""`contains_any`, `contains_all`, `not_contains`: plain strings that are, or are not, in the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from core.checks.base import BaseDefinition, Captures, CheckFault, CheckResult, Values, lookup
from core.checks.lookalikes import alike_within
from core.checks.normal_form import Parts, parts_for, plain

# Of the values, so many characters stand in the id of a check that was given none.
MAX_ID_VALUE = 24


class _ContainsDefinition(BaseDefinition):
    values: Values
    case_sensitive: bool = False

    def default_id(self) -> str:
        """ "contains_any: Exeter…": with the first of the values, or the key that holds them."""
        first = self.values if isinstance(self.values, str) else self.values[0]
        shown = " ".join(first.split())
        whole = isinstance(self.values, str) or len(self.values) == 1
        if len(shown) > MAX_ID_VALUE:
            shown, whole = shown[:MAX_ID_VALUE].rstrip(), False
        return f"{super().default_id()}: {shown}{'' if whole else '…'}"


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
    """1 when any, all or none of the values are in the text (both in the normal form). Partial: the share that is right."""
    values = _values(definition.values, expect)
    present = [value for value in values if _is_in(value, text, definition)]
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


def _is_in(value: str, text: str, definition: _ContainsDefinition) -> bool:
    parts = parts_for(value, definition.parts)
    return _fold(value, parts, definition.case_sensitive) in _fold(text, parts, definition.case_sensitive)


def _alike(values: list[str], text: str, definition: _ContainsDefinition) -> str:
    """What of the text only looks like one of the values, if anything does."""
    found = (alike_within(text, value, case_sensitive=definition.case_sensitive) for value in values)
    return next(filter(None, found), "")


def _values(values: tuple[str, ...] | str, expect: Mapping[str, Any]) -> list[str]:
    if not isinstance(values, str):
        return list(dict.fromkeys(values))
    found = lookup(values, expect)
    listed = found if isinstance(found, list | tuple) else [found]
    if not listed or not all(isinstance(item, str | int | float) and str(item) for item in listed):
        raise CheckFault(f"{values} is {found!r}: a string or a list of strings is expected")
    return list(dict.fromkeys(str(item) for item in listed))


def _fold(text: str, parts: Parts, case_sensitive: bool) -> str:
    normal = plain(text, parts)
    return normal if case_sensitive else normal.casefold()


def _list(values: list[str], most: int = 3) -> str:
    shown = ", ".join(f"“{value}”" for value in values[:most])
    return f"{shown} and {len(values) - most} more" if len(values) > most else shown
