"""What a check for drift comes to, of its parts: prompts, smoke set, and the whole golden set once or twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from core.drift.loss import ScoreChange
from core.drift.smoke import SmokeComparison

Outcome = Literal["baseline_taken", "same", "differs_no_loss", "differs_unknown", "loss", "prompts_differ"]
"""`differs_no_loss`: no loss is shown, which the figures qualify. `differs_unknown`: there are no scores of before."""

NEW_BASELINES: frozenset[str] = frozenset({"baseline_taken", "differs_no_loss"})
"""After these the next check is held to the smoke answers of this one: they are the first, or were judged by the scores."""


def wants_all_inputs(
    *, full: bool, smoke: SmokeComparison, prompts_differ: bool, identity_changed: Sequence[str]
) -> bool:
    """Whether the whole golden set is asked: on request, on any difference, and where the model or its server is another one
    than the version was and no smoke answers of before can tell whether that matters."""
    return full or prompts_differ or bool(smoke.differing) or (not smoke.is_comparable and bool(identity_changed))


def confirmed_losses(first: ScoreChange | None, second: ScoreChange | None) -> tuple[str, ...]:
    """The parts of which both runs show a loss. One run alone may show one by chance."""
    if first is None or second is None:
        return ()
    return tuple(part for part in first.lost if part in second.lost)


def outcome_of(
    smoke: SmokeComparison,
    *,
    prompts_differ: bool,
    identity_changed: Sequence[str],
    first: ScoreChange | None,
    second: ScoreChange | None,
) -> Outcome:
    """The one word for all of it. A confirmed loss comes first, then prompts that are not those of training."""
    if confirmed_losses(first, second):
        return "loss"
    if prompts_differ:
        return "prompts_differ"
    differs = (
        bool(smoke.differing) or (not smoke.is_comparable and bool(identity_changed)) or bool(first and first.lost)
    )
    if differs:
        return "differs_no_loss" if first is not None and first.parts else "differs_unknown"
    return "same" if smoke.is_comparable else "baseline_taken"
