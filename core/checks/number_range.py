"""`number_range`: each number that the format checks captured under a name is in a range, on a grid, or near a value."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from core.checks.base import BaseDefinition, Captures, CheckFault, CheckResult, in_short, is_expect_key, lookup
from core.checks.numbers import Decimal, read_number
from core.checks.ranges import refuse_backwards
from core.errors import KeyedError

# Decimals are no exact binary numbers: 0.1 · 3 is on a grid of 0.1.
ROUNDING = 1e-9
MAX_SHOWN = 30


def _bound(value: object) -> object:
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return value
    if is_expect_key(value):
        return value
    raise ValueError("expected a number, or expect.KEY")


Bound = Annotated[float | int | str, BeforeValidator(_bound)]


class NumberRangeCheck(BaseDefinition):
    """`step` is the grid that numbers stand on, counted from `min` (else from 0); `tolerance` is how far a number may be from
    `equals`; `decimal` says how `1,234` is read (`core.checks.numbers`)."""

    FROM_EXPECT: ClassVar[tuple[str, ...]] = ("min", "max", "equals")

    check: Literal["number_range"]
    name: str = Field(min_length=1)
    min: Bound | None = None
    max: Bound | None = None
    step: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    equals: Bound | None = None
    tolerance: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    decimal: Decimal = "point"

    @model_validator(mode="after")
    def _is_a_range(self) -> NumberRangeCheck:
        if self.min is None and self.max is None and self.equals is None:
            raise KeyedError(
                "a range of numbers needs `min`, `max`, both, or `equals`", remedy="write for example `min: 0, max: 5`"
            )
        refuse_backwards(self.min, self.max, key="min")
        return self

    def default_id(self) -> str:
        return f"{self.name} in range"

    def read_names(self) -> tuple[str, ...]:
        return (self.name,)


def score_number_range(
    definition: NumberRangeCheck, text: str, expect: Mapping[str, Any], captures: Captures, timeout: float
) -> CheckResult:
    """1 when all that was captured are numbers in the range; nothing captured is 0. Partial: the share that is right.

    With `equals` out of a list in `expect`, the numbers are compared place by place and must be as many.
    """
    low, high = _resolved(definition.min, expect), _resolved(definition.max, expect)
    if low is not None and high is not None and low > high:
        raise CheckFault(f"no number is at least {low:g} and at most {high:g}")
    captured = [item.strip() for item in captures.get(definition.name, ())]
    if not captured:
        return CheckResult(0.0, f"no {definition.name} found")
    wanted = _wanted(definition, expect, len(captured))
    reasons = [
        _wrong(definition, item, low, high, wanted[place] if place < len(wanted) else None)
        for place, item in enumerate(captured)
    ]
    if len(wanted) not in (0, len(captured)):
        right = sum(not reason for reason in reasons[: len(wanted)])
        share = right / max(len(captured), len(wanted)) if definition.partial else 0.0
        return CheckResult(share, f"{len(captured)} × {definition.name}, {len(wanted)} expected")
    first = next(filter(None, reasons), "")
    share = sum(not reason for reason in reasons) / len(reasons) if definition.partial or not first else 0.0
    return CheckResult(share, first)


def _resolved(bound: float | int | str | None, expect: Mapping[str, Any]) -> float | None:
    if bound is None or not isinstance(bound, str):
        return bound
    return _number_of(bound, lookup(bound, expect))


def _number_of(key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise CheckFault(f"{key} is {value!r}: a number is expected")
    return value


def _wanted(definition: NumberRangeCheck, expect: Mapping[str, Any], captured: int) -> list[float]:
    """The value expected at each place; none where none is."""
    if definition.equals is None:
        return []
    if not isinstance(definition.equals, str):
        return [definition.equals] * captured
    value = lookup(definition.equals, expect)
    if not isinstance(value, list | tuple):
        return [_number_of(definition.equals, value)] * captured
    if not value:
        raise CheckFault(f"{definition.equals} is an empty list: numbers are expected")
    return [_number_of(definition.equals, item) for item in value]


def _wrong(definition: NumberRangeCheck, item: str, low: float | None, high: float | None, wanted: float | None) -> str:
    """Why this is not the number asked for; empty when it is."""
    number = read_number(item, definition.decimal)
    if number is None:
        return f"{definition.name} “{in_short(item, MAX_SHOWN)}” is no number"
    slack = ROUNDING * max(1.0, abs(number))
    if low is not None and number < low - slack:
        return f"{definition.name} below {low:g}"
    if high is not None and number > high + slack:
        return f"{definition.name} above {high:g}"
    if definition.step is not None:
        steps = (number - (low or 0.0)) / definition.step
        if abs(steps - round(steps)) * definition.step > slack:
            return f"{definition.name} between the steps of {definition.step:g}"
    if wanted is not None and abs(number - wanted) > definition.tolerance + slack:
        return f"{definition.name} {number:g} where {wanted:g} is expected"
    return ""
