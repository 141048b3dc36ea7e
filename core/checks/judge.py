"""`judge`: another model reads the answer by a rubric and gives it a number, or says whether it or a reference is better.

Nothing is asked here: the verdicts are files of the bake-off's job, and this is what they come to. An answer that lacks all of
its verdicts is "not judged": the check is faulty, and the content of that answer is unknown, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from core.checks.base import BaseDefinition, Captures, CheckFault, CheckResult, is_expect_key, lookup

NOT_JUDGED = "not judged"
MOST_ASKS = 9
WIDEST_SCALE = 100

Order = Literal["", "AB", "BA"]
"""Which was shown first where two are compared: the answer (`AB`) or the reference (`BA`)."""
Given = Mapping[tuple[Order, int], float | None]
"""What a judge said of an answer, by order and ask (from 1): its value in [0, 1], None of a reply that could not be read."""


def _scale(value: object) -> object:
    if value is None:
        return None
    if isinstance(value, list | tuple) and len(value) == 2 and all(type(end) is int for end in value):
        low, high = value
        if 0 <= low < high <= low + WIDEST_SCALE:
            return (low, high)
    raise ValueError(f"expected two whole numbers from 0, the worst and the best, at most {WIDEST_SCALE} apart: [1, 5]")


def _against(value: object) -> object:
    if value is None or is_expect_key(value):
        return value
    raise ValueError("expected expect.KEY, the text of each golden input that its answers are compared with")


class JudgeCheck(BaseDefinition):
    """`model` is a served model (`served:NAME`, `SERVER:MODEL`), `rubric` what it judges by.

    Without `against` it gives a whole number of `scale`, which is mapped to [0, 1]; with `against: expect.KEY` the answer and
    that text are shown in both orders: better in both is 1, worse in both 0, everything else 0.5. `asks` is how often each is
    asked: the first time greedily, then sampled, as a greedy repeat would be a copy. The value is the mean over the asks.
    `partial: false` makes of it 1 from `least` on, else 0.
    """

    FROM_EXPECT: ClassVar[tuple[str, ...]] = ("against",)
    CONTENT_ONLY: ClassVar[bool] = True

    check: Literal["judge"]
    model: str = Field(min_length=1)
    rubric: str = Field(min_length=1)
    scale: Annotated[tuple[int, int] | None, BeforeValidator(_scale)] = None
    against: Annotated[str | None, BeforeValidator(_against)] = None
    asks: int = Field(default=1, ge=1, le=MOST_ASKS)
    least: float = Field(default=0.5, gt=0, le=1)
    partial: bool = True

    @model_validator(mode="after")
    def _one_way_of_judging(self) -> JudgeCheck:
        if self.against is not None and self.scale is not None:
            raise ValueError("with `against` an answer is better, worse or as good: take `scale` out")
        if not self.rubric.strip() or not self.model.strip():
            raise ValueError("a judge needs a `model` and a `rubric` to judge by")
        return self

    @property
    def points(self) -> tuple[int, int]:
        """The worst and the best number that it can give."""
        return self.scale or (1, 5)

    @property
    def orders(self) -> tuple[Order, ...]:
        """In which orders an answer is shown."""
        return ("AB", "BA") if self.against is not None else ("",)

    @property
    def verdicts(self) -> tuple[tuple[Order, int], ...]:
        """Each time that it is asked about an answer."""
        return tuple((order, ask) for ask in range(1, self.asks + 1) for order in self.orders)

    def default_id(self) -> str:
        return f"judge: {self.model}"

    def reference(self, expect: Mapping[str, Any]) -> str | None:
        """The text that an answer is compared with; None without `against`. `CheckFault` where the input has none."""
        if self.against is None:
            return None
        text = lookup(self.against, expect)
        if not isinstance(text, str) or not text.strip():
            raise CheckFault(f"{self.against} is {text!r}: a text is expected")
        return text

    def value_of(self, given: Given) -> float | None:
        """What the verdicts come to in [0, 1]; None of an answer that is not judged.

        An ask counts where all its orders have a verdict; an answer needs one such ask.
        """
        asks = [[given.get((order, ask)) for order in self.orders] for ask in range(1, self.asks + 1)]
        whole = [_of_ask([value for value in one if value is not None]) for one in asks if None not in one]
        return sum(whole) / len(whole) if whole else None


def _of_ask(values: list[float]) -> float:
    """Of both orders, what they agree on; else as good."""
    return values[0] if len(set(values)) == 1 else 0.5


def judged(definition: JudgeCheck, given: Given) -> CheckResult:
    """What the check says of an answer with these verdicts."""
    value = definition.value_of(given)
    if value is None:
        return CheckResult(0.0, NOT_JUDGED, faulty=True)
    if value == 1:
        return CheckResult(1.0)
    scored = value if definition.partial else float(value >= definition.least)
    return CheckResult(scored, "" if scored == 1 else _why(definition, value, given))


def _why(definition: JudgeCheck, value: float, given: Given) -> str:
    if definition.against is None:
        low, high = definition.points
        return f"judged {low + value * (high - low):g} of {high}"
    if value == 0:
        return f"judged worse than {definition.against}"
    if all(given.get(place) in (0.5, None) for place in definition.verdicts):
        return f"judged as good as {definition.against}"
    return f"judged better than {definition.against} not each time"


def score_judge(
    definition: JudgeCheck, text: str, expect: Mapping[str, Any], captures: Captures, timeout: float
) -> CheckResult:
    """Without verdicts at hand: the scorer has them, and asks for `judged`."""
    raise CheckFault(NOT_JUDGED)
