"""`similarity`: how alike the answer is to a reference text, by the library `rapidfuzz`; against several, the best counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import Field

from core.checks.base import BaseDefinition, Captures, CheckFault, CheckResult, Values, lookup
from core.checks.normal_form import plain

BRIEF = 1_000
MAX_REFERENCE_CHARACTERS = 200_000
Method = Literal["ratio", "token_sort", "token_set", "partial"]


class SimilarityCheck(BaseDefinition):
    """`to` is `expect.KEY` or a list of texts; `least` the likeness from 0 to 1 that passes.

    `ratio`: characters in their order. `token_sort`: words in any order. `token_set`: words that both have, whatever else
    stands in the longer one. `partial`: the best stretch of the longer text against the shorter one.
    """

    FROM_EXPECT: ClassVar[tuple[str, ...]] = ("to",)

    check: Literal["similarity"]
    to: Values
    method: Method = "ratio"
    least: float = Field(default=0.6, gt=0, le=1, allow_inf_nan=False)
    case_sensitive: bool = False

    def default_id(self) -> str:
        """ "similarity: expect.reference", or by its method where the references are written out."""
        return f"similarity: {self.to if isinstance(self.to, str) else self.method}"

    def is_unbounded(self, text: str, expect: Mapping[str, Any]) -> bool:
        """The best stretch costs the square of the shorter text times the longer one: two of 20,000 characters take minutes."""
        if self.method != "partial" or len(text) <= BRIEF:
            return False
        return any(len(one) > BRIEF for one in _references(self, expect))


def score_similarity(
    definition: SimilarityCheck, text: str, expect: Mapping[str, Any], captures: Captures, timeout: float
) -> CheckResult:
    """1 when the answer is at least so much alike to a reference. Both are compared in the normal form, each run of white space
    as one blank, without regard to case unless that is asked for. Partial: the likeness itself where it is too small."""
    references = [_compared(one, definition) for one in _references(definition, expect)]
    answer = _compared(text, definition)
    likeness = max((_likeness(definition.method, answer, one) for one in references), default=0.0)
    if likeness >= definition.least:
        return CheckResult(1.0)
    # Cut, not rounded: 0.59 of 0.6 would read as enough.
    shown = f"likeness {int(likeness * 10) / 10:.1f}, at least {definition.least:g} expected"
    return CheckResult(likeness if definition.partial else 0.0, shown)


def _references(definition: SimilarityCheck, expect: Mapping[str, Any]) -> list[str]:
    found = lookup(definition.to, expect) if isinstance(definition.to, str) else list(definition.to)
    listed = found if isinstance(found, list | tuple) else [found]
    if not listed or not all(isinstance(item, str) and item.strip() for item in listed):
        raise CheckFault(f"{definition.to} is {str(found)[:40]!r}: a text or a list of texts is expected")
    if any(len(item) > MAX_REFERENCE_CHARACTERS for item in listed):
        raise CheckFault(f"a reference has more than {MAX_REFERENCE_CHARACTERS:,} characters")
    return list(listed)


def _compared(text: str, definition: SimilarityCheck) -> str:
    line = " ".join(plain(text, definition.parts).split())
    return line if definition.case_sensitive else line.casefold()


def _likeness(method: Method, one: str, other: str) -> float:
    from rapidfuzz import fuzz

    if not one or not other:
        return 0.0
    scorers = {
        "ratio": fuzz.ratio,
        "token_sort": fuzz.token_sort_ratio,
        "token_set": fuzz.token_set_ratio,
        "partial": fuzz.partial_ratio,
    }
    return min(1.0, scorers[method](one, other) / 100)
