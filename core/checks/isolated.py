"""Checks in a worker process that is killed when it hangs, crashes or eats memory (`core.isolation`); the run goes on.

A check whose class says `ISOLATED` is always done there. Any other one is where the answer has `ISOLATED_FROM` characters or
more: below, the time that a pattern may take bounds it well enough, and the usual answer is scored without the way to a
process.
"""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Mapping
from typing import Any

from core.checks.base import BaseDefinition, Captures, CheckFault, CheckResult, in_short
from core.isolation.client import Outcome, ask
from core.isolation.worker import WorkerSpec

ISOLATED_FROM = 20_000
"""Characters of an answer; some 5,000 tokens."""
MEMORY_BYTES = 1_000_000_000
MORE_SECONDS = 10.0
"""Beyond the limit that the check itself keeps: for parsers, which look at no clock."""
FEW_KILLS, MOST_KILLS = 5, 25
CHECKS = WorkerSpec("core.checks.isolated_work:prepare_checks", None, fork=False, memory=MEMORY_BYTES)


class CheckKilledError(CheckFault):
    """The process that did the check was killed, or ended by itself."""


class Kills:
    """How often each check of a set of answers was killed: one that is too often is not done on the rest, or a night would go
    by with a check of two seconds on a thousand answers.

    Too often is `few` times where that is half of the answers so far, and `most` times in any case.
    """

    def __init__(self, few: int = FEW_KILLS, most: int = MOST_KILLS) -> None:
        self.few, self.most = few, most
        self._done: Counter[int] = Counter()
        self._killed: Counter[int] = Counter()
        self._why: dict[int, str] = {}

    def note(self, definition: BaseDefinition, fault: CheckKilledError | None) -> None:
        """A check was done on one more answer; `fault` where it was killed."""
        key = id(definition)
        self._done[key] += 1
        if fault is not None:
            self._killed[key] += 1
            self._why[key] = str(fault)

    def given_up(self, definition: BaseDefinition) -> str | None:
        """Why a check is not done any more, in words; None while it is."""
        key = id(definition)
        killed = self._killed[key]
        if killed < self.few or (killed < self.most and 2 * killed < self._done[key]):
            return None
        return f"not done on these answers any more, for on {killed} of {self._done[key]} {self._why[key]}"


def score_isolated(
    definition: BaseDefinition, text: str, expect: Mapping[str, Any], captures: Captures, timeout: float
) -> CheckResult:
    """What a check says of a text, found out in the worker for the program's own checks. Raises CheckFault."""
    work = {
        "definition": definition.model_dump(mode="json"),
        "text": text,
        "expect": dict(expect),
        "captures": {name: list(values) for name, values in captures.items()},
        "timeout": timeout,
    }
    seconds = timeout + MORE_SECONDS
    found, _ = outcome_of(CHECKS, work, seconds, "the check")
    if not isinstance(found, dict) or "value" not in found:
        raise CheckFault(str(found.get("fault")) if isinstance(found, dict) else "the check gave no result")
    return CheckResult(float(found["value"]), found["detail"], found["captures"], bool(found["faulty"]))


def outcome_of(worker: WorkerSpec, work: Any, seconds: float, what: str) -> tuple[Any, str]:
    """The result of a piece of work and what was printed meanwhile. Raises CheckFault, and CheckKilledError where the worker
    came to harm; `what` is its subject."""
    try:
        outcome = ask(worker, work, seconds)
    except (TypeError, ValueError) as error:
        raise CheckFault(f"what the check reads cannot be sent to its process: {error}") from None
    if outcome.failed is not None:
        raise CheckFault(f"the process for checks does not start: {outcome.failed}")
    if outcome.killed is not None:
        raise CheckKilledError(f"{what} {_how(outcome, seconds)}{printed(outcome.output)}")
    return outcome.result, outcome.output


def printed(output: str, most: int = 160) -> str:
    """What a check printed, as the end of a sentence; nothing where it printed nothing."""
    line = in_short(output, most)
    return f"; printed: {line}" if line else ""


def _how(outcome: Outcome, seconds: float) -> str:
    match outcome.killed:
        case "time":
            return f"ran longer than {seconds:g} s"
        case "output":
            return "printed more than 1 MB"
        case "signal":
            return _signal(int(outcome.value))
        case "exit":
            return f"ended its process (exit code {outcome.value}) before it said anything"
        case "prepare" if outcome.value == "time":
            return "took too long to load"
        case "prepare" if outcome.value == "processes":
            return "started a crowd of processes when it was loaded"
        case "prepare":
            return f"could not be loaded: its process ended ({outcome.value})"
    return "closed or misused the way by which it answers"


def _signal(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    if number == signal.SIGKILL:
        return f"was ended by {name}, as the machine does where memory runs out"
    return f"crashed ({name})" if number in (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT) else f"was ended by {name}"
