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
    if not named:
        return "margin changed"
    more = f" and {len(named) - MOST_CHECKS} more" if len(named) > MOST_CHECKS else ""
    return f"checks changed ({', '.join(named[:MOST_CHECKS])}{more})"


PARTS_OF_A_VERDICT = {
    "task": "task",
    "checks": "checks",
    "margin": "margin",
    "golden": "golden inputs",
    "system": "system text",
    "thinking": "thinking",
    "sampling": "sampling",
    "examples": "examples of the training data",
    "weights": "weights",
    "template": "chat template",
    "parameters": "parameters of the server",
    "version": "version of the server",
    "model": "name of the model",
    "api": "API",
    "server": "server",
    "system_file": "file of the system text",
    "format_file": "file of the schema or grammar",
}
"""What a verdict rests on, by the codes of `core.staleness.staleness`."""
UNKNOWN_WHY = {
    "not_stored": "the bake-off stored nothing of it",
    "not_asked": "the server was not asked",
    "no_answer": "the server did not tell",
    "unreadable": "its files cannot be read",
    "too_large": "its file is too large to be hashed at each look",
}


class CauseFacts(Protocol):
    """A cause of `core.staleness.staleness`: something of a candidate, of a task, or of both."""

    @property
    def candidate(self) -> str | None: ...
    @property
    def task(self) -> str | None: ...
    @property
    def what(self) -> str: ...


class StaleFacts(CauseFacts, Protocol):
    @property
    def before(self) -> object: ...
    @property
    def now(self) -> object: ...


class UnknownFacts(CauseFacts, Protocol):
    @property
    def why(self) -> str: ...


def stale_words(causes: Iterable[StaleFacts]) -> str:
    """`Stale: judge: checks and margin changed; qwen3:4b: chat template changed`; empty without a cause."""
    said: dict[tuple[str, str], list[str]] = {}
    for one in causes:
        if one.what == "mixed":
            said[whose(one), f"changed while it was asked: its answers are of {one.now} models"] = []
            continue
        gone = one.now is None or (one.what == "examples" and one.now == 0)
        said.setdefault((whose(one), "gone" if gone else "changed"), []).append(PARTS_OF_A_VERDICT[one.what])
    parts = [f"{owner}: {f'{listing(names)} ' if names else ''}{became}" for (owner, became), names in said.items()]
    return printable(f"Stale: {'; '.join(parts)}") if parts else ""


def unknown_words(unknown: Iterable[UnknownFacts]) -> str:
    """`Not known whether they changed: qwen3:4b: weights and chat template (the server was not asked)`; empty without one."""
    said: dict[tuple[str, str], list[str]] = {}
    for one in unknown:
        said.setdefault((whose(one), UNKNOWN_WHY[one.why]), []).append(PARTS_OF_A_VERDICT[one.what])
    parts = [f"{owner}: {listing(names)} ({why})" for (owner, why), names in said.items()]
    return printable(f"Not known whether they changed: {'; '.join(parts)}") if parts else ""


def whose(cause: CauseFacts) -> str:
    return ", ".join(name for name in (cause.candidate, cause.task) if name)


def listing(names: Iterable[str]) -> str:
    """`a, b and c`."""
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last
