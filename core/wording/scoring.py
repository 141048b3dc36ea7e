"""The words for which scores of a bake-off are shown: the original ones, or those of a rescoring."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from core.format import moment, when
from core.store.rescorings import CheckChange
from core.text import printable

MOST_CHECKS = 3
SIGNS = {"added": "+", "removed": "−", "changed": "~"}


class ScoringFacts(Protocol):
    """A `core.results.load.Scoring`, or what the console keeps of it."""

    @property
    def number(self) -> int: ...
    @property
    def newest(self) -> int: ...
    @property
    def time(self) -> float | None: ...
    @property
    def author(self) -> str: ...
    @property
    def changes(self) -> tuple[CheckChange, ...]: ...
    @property
    def outdated(self) -> bool: ...


def scoring_words(scoring: ScoringFacts, now: float | None = None) -> str:
    """`Rescored 14:07 by anna@gpubox, console: checks changed (+ verdict, ~ table)`; empty where there is but one result."""
    older_checks = (
        "Scored by an earlier version of the checks; rescore to use the current one." if scoring.outdated else ""
    )
    if scoring.number == 0:
        return "Original scores; rescored since" if scoring.newest else older_checks
    older = "" if scoring.number == scoring.newest else f" (rescoring {scoring.number} of {scoring.newest})"
    by = f" by {scoring.author}" if scoring.author else ""
    said = f"Rescored {moment(scoring.time, now)}{by}{older}: {change_words(scoring.changes)}"
    return printable(f"{said}. {older_checks}" if older_checks else said)


def scoring_label(scoring: ScoringFacts, now: float | None = None) -> str:
    """The same for narrow places: `rescored 14:07`, `original scores`; empty where there is but one result."""
    if scoring.number == 0:
        return "original scores" if scoring.newest else ""
    return f"rescored {when(scoring.time, now)}"


def change_words(changes: Iterable[CheckChange]) -> str:
    """`checks changed (+ verdict, ~ table and 2 more)`."""
    listed = list(changes)
    named = [f"{SIGNS[one.kind]} {one.check}" for one in listed if one.kind in SIGNS]
    if not listed:
        return "same checks, scored by this version of Bakehouse"
    judged = [one.check for one in listed if one.kind == "judged"]
    verdicts = f"more verdicts ({', '.join(judged[:MOST_CHECKS])})" if judged else ""
    if not named:
        margin = "margin changed" if any(one.kind == "margin" for one in listed) else ""
        return ", ".join(filter(None, [margin, verdicts]))
    more = f" and {len(named) - MOST_CHECKS} more" if len(named) > MOST_CHECKS else ""
    checks = f"checks changed ({', '.join(named[:MOST_CHECKS])}{more})"
    return f"{checks}, {verdicts}" if verdicts else checks
