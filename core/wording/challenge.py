"""Words for a challenge: how far each of its tasks is, and what the new model would gain there."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from core.fleet.challenge import ChallengedTask, Side, Stage
from core.fleet.gate import GateOutcome
from core.format import SCORE_SCALE, data_size, plural, score_figure
from core.wording.chains import chain_words
from core.wording.promotion import condition_words

if TYPE_CHECKING:
    from core.submission.challenge import ChallengePlan, LeftOut, PlannedTask

RECIPE_SOURCES: Mapping[str, str] = {
    "asked": "asked for",
    "lineage": "of what serves",
    "task": "of the task's newest training",
    "fallback": "nothing on record",
}
"""Where the recipe of a task's chain comes from."""
STAGES: Mapping[Stage, str] = {
    "queued": "queued",
    "running": "on its way",
    "stopped": "stopped",
    "done": "measured",
    "promoted": "serves already",
    "gone": "its jobs were removed",
}
ADVICE: Mapping[GateOutcome, str] = {"pass": "switch", "fail": "keep", "cannot_tell": "cannot tell"}
"""What the gate of a promotion comes to, for a person who decides."""
HEAD = ("task", "advice", "score", "gain [95 %]", "size", "tokens/s")


def advice_words(one: ChallengedTask) -> str:
    """`switch`, `keep`, `cannot tell`; for a task that is no candidate for a promotion how it stands."""
    if one.stage != "done":
        return STAGES[one.stage]
    return "gate unknown" if one.gate is None else ADVICE.get(one.gate.outcome, one.gate.outcome)


def gain_words(one: ChallengedTask) -> str:
    """`+0.40 [+0.10, +0.70]`, of 5."""
    if one.difference is None:
        return "—"
    figures = f"{SCORE_SCALE * one.difference:+.2f}"
    if one.interval is None:
        return figures
    low, high = (SCORE_SCALE * end for end in one.interval)
    return f"{figures} [{low:+.2f}, {high:+.2f}]"


def table_row(one: ChallengedTask) -> tuple[str, ...]:
    """The cells under HEAD; `old → new` where a figure is of both."""
    old, new = one.old, one.new
    return (
        one.task,
        advice_words(one),
        f"{score_figure(old.score)} → {score_figure(new.score)}",
        gain_words(one),
        f"{_size(old)} → {_size(new)}",
        f"{_speed(old)} → {_speed(new)}",
    )


def plan_headline(plan: ChallengePlan, *, queued: bool = False) -> str:
    """`tiny: 3 chains would be queued, the one that could gain most first`."""
    if not plan.tasks:
        return f"{plan.wanted.model}: no chain {'was' if queued else 'would be'} queued, every task is in its challenge already"
    order = ", the one that could gain most first" if len(plan.tasks) > 1 else ""
    return f"{plan.wanted.model}: {plural(len(plan.tasks), 'chain')} {'queued' if queued else 'would be queued'}{order}"


def planned_words(one: PlannedTask) -> str:
    """`judge: against vault-judge, could gain 1.90/5; recipe plain (of what serves), Q8_0`."""
    recipe = f"recipe {one.recipe} ({RECIPE_SOURCES[one.recipe_source]})"
    return f"{one.task}: against {one.alias.name}, {could_gain_words(one.gain)}; {recipe}, {one.quantization}"


def left_out_words(left: LeftOut) -> str:
    """`judge is left out: …`, with what to do."""
    remedy = f" ({left.error.remedy})" if left.error.remedy else ""
    return f"{left.task} is left out: {left.error.message}{remedy}"


def could_gain_words(gain: float | None) -> str:
    """`could gain 1.90/5`; what is not known is said to be."""
    if gain is None:
        return "score of what serves unknown"
    return f"could gain {score_figure(gain)}/{SCORE_SCALE}"


def way_words(one: ChallengedTask) -> str:
    """How far a task is that is not measured yet: `chain:4  2 of 6 done, merge failed, 4 left; …` with what to do."""
    if one.chain is None:
        return STAGES["gone"]
    words = f"chain:{one.chain.id}  {chain_words(one.chain, time.time())}"
    if one.stage != "stopped":
        return words
    job = one.chain.current.job.id
    return f"{words}; `bakehouse logs {job}` says why, `bakehouse queue retry {job}` goes on"


def why_lines(one: ChallengedTask) -> list[str]:
    """Why a measured task is not to be switched, or cannot be told: the conditions that decide so, and what shows them all."""
    if one.gate_error is not None:
        return [f"the gate cannot be asked: {one.gate_error.message}"]
    if one.gate is None or one.advised:
        return []
    decisive = [condition_words(found) for found in one.gate.conditions if found.outcome == one.gate.outcome]
    return [
        f"{ADVICE[one.gate.outcome]}: {'; '.join(decisive)} (`{promote_command(one)} --dry-run` shows the evidence)"
    ]


def promote_command(one: ChallengedTask) -> str | None:
    """The command that has the new model serve, where there is something to promote."""
    if one.stage != "done" or one.candidate is None:
        return None
    return f"bakehouse fleet promote {one.task} {one.candidate}"


def headline(model: str, tasks: Sequence[ChallengedTask]) -> str:
    """`tiny: 2 of 3 tasks measured, 1 to switch`."""
    measured = sum(one.is_measured for one in tasks)
    passed = sum(one.advised for one in tasks)
    served, stopped = (sum(one.stage == stage for one in tasks) for stage in ("promoted", "stopped"))
    parts = [f"{measured} of {plural(len(tasks), 'task')} measured"]
    parts += [f"{passed} to switch"] if passed else []
    parts += [f"{served} switched"] if served else []
    parts += [f"{stopped} stopped"] if stopped else []
    return f"{model}: {', '.join(parts)}"


def _size(side: Side) -> str:
    return data_size(side.size_bytes) or "—"


def _speed(side: Side) -> str:
    return "—" if side.tokens_per_second is None else f"{side.tokens_per_second:.0f}"
