"""`captured_equals`: what the format checks captured under a name is what the golden input expects."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from core.checks.base import BaseDefinition, Captures, CheckFault, CheckResult, in_short, lookup
from core.checks.lookalikes import alike_as_whole
from core.checks.normal_form import plain

MAX_SHOWN = 40


class CapturedEqualsCheck(BaseDefinition):
    """`tolerance` is how far a captured number may be from the expected one."""

    check: Literal["captured_equals"]
    name: str = Field(min_length=1)
    case_sensitive: bool = True
    tolerance: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    def default_id(self) -> str:
        return f"{self.name} equals expect"

    def read_names(self) -> tuple[str, ...]:
        return (self.name,)

    def expect_keys(self) -> tuple[str, ...]:
        return (self.name,)


def score_captured_equals(
    definition: CapturedEqualsCheck, text: str, expect: Mapping[str, Any], captures: Captures, timeout: float
) -> CheckResult:
    """1 when the captured list equals `expect[name]` item by item; a scalar is a list of one, nothing captured is 0.

    Strings are compared in the normal form, without surrounding white space; where a number is expected, as numbers.
    Partial: the share of places that agree, over the longer list.
    """
    wanted = lookup(definition.name, expect)
    expected = list(wanted) if isinstance(wanted, list | tuple) else [wanted]
    if not expected or not all(isinstance(item, str | int | float) for item in expected):
        raise CheckFault(f"expect.{definition.name} is {wanted!r}: a string, a number or a list of them is expected")
    captured = [item.strip() for item in captures.get(definition.name, ())]
    if not captured:
        return CheckResult(0.0, f"no {definition.name} found")
    agree = [_equal(definition, have, want) for have, want in zip(captured, expected, strict=False)]
    longest = max(len(captured), len(expected))
    if sum(agree) == longest:
        return CheckResult(1.0)
    share = sum(agree) / longest if definition.partial else 0.0
    return CheckResult(share, _why(definition, captured, expected, agree))


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _equal(definition: CapturedEqualsCheck, captured: str, expected: Any) -> bool:
    if isinstance(expected, int | float) and not isinstance(expected, bool):
        try:
            number = float(plain(captured, definition.parts).strip())
        except ValueError:
            return False
        return math.isclose(number, expected, rel_tol=1e-9, abs_tol=definition.tolerance + 1e-9)
    have, want = plain(captured, definition.parts).strip(), plain(_shown(expected), definition.parts).strip()
    return have == want if definition.case_sensitive else have.casefold() == want.casefold()


def _why(definition: CapturedEqualsCheck, captured: list[str], expected: list[Any], agree: list[bool]) -> str:
    if len(captured) != len(expected):
        return f"{len(captured)} × {definition.name}, {len(expected)} expected"
    at = agree.index(False)
    have, want = captured[at], _shown(expected[at])
    alike = alike_as_whole(have, want, case_sensitive=definition.case_sensitive)
    return f"{in_short(have, MAX_SHOWN)} where {in_short(want, MAX_SHOWN)} is expected{alike}"
