"""Which part of an experiment there is time for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import InputError
from core.experiment_submission.cost import ExperimentCost
from core.experiment_submission.plan import ExperimentPlan
from core.experiments.arms import Arm, ArmRun


@dataclass(frozen=True)
class ChosenPart:
    """What there is time for: `runs`, and what is left out of it, as whole seeds or as arms."""

    runs: tuple[ArmRun, ...]
    seconds: float
    seeds_left_out: tuple[int, ...]
    arms_left_out: tuple[Arm, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "seconds": self.seconds,
            "seeds_left_out": list(self.seeds_left_out),
            "arms_left_out": [arm.key for arm in self.arms_left_out],
        }


def within_hours(plan: ExperimentPlan, cost: ExperimentCost, hours: float) -> ChosenPart:
    """What of the missing part can be done in so many hours.

    Whole blocks of seeds while they fit, in their order, with the trials before the first. Where not even one does, the dearest
    arms are left out until it does. Raises `InputError` where the time of an arm is not known, and where nothing fits.
    """
    if cost.unknown:
        names = ", ".join(arm.name for arm in cost.unknown[:3])
        raise InputError(
            f"how long a training takes is not known of {names}{' and others' if len(cost.unknown) > 3 else ''}",
            code="time_unknown",
            key="--hours",
            remedy="train one of these models once (`bakehouse train TASK --model MODEL --set steps=5`), or leave out --hours",
        )
    budget = hours * 3600
    arms = {one.run.arm.key: one.run.arm for one in cost.runs}
    chosen = dict(arms)
    by_price = sorted(arms, key=lambda key: _price(cost, key), reverse=True)
    blocks = _blocks_within(plan, cost, set(chosen), budget)
    while not blocks and len(chosen) > 1:
        del chosen[by_price.pop(0)]
        blocks = _blocks_within(plan, cost, set(chosen), budget)
    if not blocks:
        raise InputError(
            f"nothing of {plan.experiment.name} can be done in {hours:g} h: its cheapest arm takes longer",
            code="too_few_hours",
            key="--hours",
            remedy="give more hours, fewer steps or fewer tasks",
        )
    kept = set(blocks)
    runs = tuple(
        one.run for one in cost.runs if one.run.arm.key in chosen and (one.run.role == "trial" or one.run.seed in kept)
    )
    missing = {one.run.seed for one in cost.runs if one.run.role == "final"}
    return ChosenPart(
        runs,
        _seconds(plan, cost, set(chosen), blocks),
        tuple(seed for seed in plan.experiment.seed_list if seed in missing - kept),
        tuple(arm for key, arm in arms.items() if key not in chosen),
    )


def _price(cost: ExperimentCost, key: str) -> float:
    return sum(one.seconds or 0.0 for one in cost.runs if one.run.arm.key == key)


def _blocks_within(plan: ExperimentPlan, cost: ExperimentCost, arms: Collection[str], budget: float) -> tuple[int, ...]:
    """The seeds, from the first on, whose blocks fit together with the trials."""
    missing = {one.run.seed for one in cost.runs if one.run.role == "final"}
    seeds = [seed for seed in plan.experiment.seed_list if seed in missing]
    fit = 0
    while fit < len(seeds) and _seconds(plan, cost, arms, seeds[: fit + 1]) <= budget:
        fit += 1
    return tuple(seeds[:fit])


def _seconds(plan: ExperimentPlan, cost: ExperimentCost, arms: Collection[str], seeds: Sequence[int]) -> float:
    """Trials and trainings of these arms and seeds, and their share of the bake-offs."""
    every = len({one.run.arm.key for one in cost.runs})
    wanted = set(seeds)
    blocks = {plan.experiment.seed_list.index(seed) + 1 for seed in seeds}
    runs = cost.counted(
        [one for one in cost.runs if one.run.arm.key in arms and (one.run.role == "trial" or one.run.seed in wanted)]
    )
    share = len(arms) / every
    if cost.keep is not None:  # the bake-offs of a race are of those that go on
        share = min(len(arms), cost.keep) / min(every, cost.keep)
    asked = sum((one.seconds or 0.0) * share for one in cost.bakeoffs if one.block in blocks)
    return sum(one.seconds or 0.0 for one in runs) + asked
