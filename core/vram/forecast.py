"""Whether a training fits: the estimate, corrected by what was measured, against a budget. All in bytes."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from core.config.model import ModelEntry
from core.config.recipe import Recipe
from core.gpu.room import Fit
from core.vram.budget import Budget
from core.vram.calibration import Calibration
from core.vram.estimate import Estimate, Step, estimate
from core.vram.layers import rank_ceiling

# What the GPU shows as used beyond the bytes that torch has allocated. On the write-up's GPU (17.18e9 bytes, 16.66e9 of
# them usable) a run of 15.95e9 allocated went through, and one of some 16.6e9 ran out: these two stay between them. When
# memory is short, torch's allocator gives its free blocks back, so that only what is split remains.
RESERVE = 0.02
# The driver's context with its kernels, which nobody allocates.
CONTEXT_BYTES = 350_000_000

LONGEST = 131_072
"""Lengths are searched up to here for a model whose own limit (`context` of its shape) is not known."""
STEP_OF_LENGTH = 16


@dataclass(frozen=True)
class Forecast:
    """What a training is expected to take of a budget.

    `allocated_bytes` is the estimate times the calibration's factor, `plus_minus_bytes` how far it may be off, and
    `device_bytes` what the GPU will show as used, at the central figure. On a CPU both are the process's resident size.
    `calibration` is that by runs of comparable size.
    """

    estimate: Estimate
    budget: Budget
    calibration: Calibration
    allocated_bytes: int
    plus_minus_bytes: int
    device_bytes: int
    length: int = 0
    """Tokens of the longest example that it was made for."""

    @property
    def fits(self) -> bool:
        """The device use is within the budget."""
        return self.device_bytes <= self.budget.limit_bytes

    @property
    def fit(self) -> Fit:
        """The same answer in the words of the runner, which waits for what others hold of a GPU."""
        if not self.fits:
            return "too_large"
        return "fits" if self.budget.room is None else self.budget.room.fit(self.device_bytes)

    @property
    def surely_fits(self) -> bool:
        """It is so even at the upper end of the error."""
        return self.device_bytes + self.plus_minus_bytes <= self.budget.limit_bytes

    @property
    def cannot_fit(self) -> bool:
        """It is not so even at the lower end of the error."""
        return self.device_bytes - self.plus_minus_bytes > self.budget.limit_bytes

    @property
    def never_fits(self) -> bool:
        """It is not so at the lower end even when nothing else is in the memory."""
        return replace(self, budget=self.budget.emptied).cannot_fit

    @property
    def spare_bytes(self) -> int:
        """What is left of the budget; negative when there is none."""
        return self.budget.limit_bytes - self.device_bytes

    def to_json(self) -> dict[str, Any]:
        return {
            "allocated_bytes": self.allocated_bytes,
            "plus_minus_bytes": self.plus_minus_bytes,
            "device_bytes": self.device_bytes,
            "limit_bytes": self.budget.limit_bytes,
            "fits": self.fits,
            "fit": self.fit,
            "calibrated_by": self.calibration.runs,
            "length": self.length,
            "components": self.estimate.components,
        }


def forecast(model: ModelEntry, recipe: Recipe, budget: Budget, calibration: Calibration) -> Forecast:
    """The forecast for a recipe. Raises `NotPredicted`."""
    return forecast_step(model, Step.of(recipe, budget.kind), budget, calibration)


def forecast_step(model: ModelEntry, step: Step, budget: Budget, calibration: Calibration) -> Forecast:
    """The forecast for a step; its settings may be those that no recipe has."""
    parts = estimate(model, step)
    calibration = calibration.at(parts.allocated_bytes)
    allocated = round(parts.allocated_bytes * calibration.factor)
    device = allocated if budget.kind == "cpu" else round(allocated * (1 + RESERVE)) + CONTEXT_BYTES
    spread = round(allocated * calibration.spread)
    return Forecast(parts, budget, calibration, allocated, spread, device, step.max_length)


def at_longest(recipe: Recipe, longest: int | None) -> Recipe:
    """The recipe with the length of the longest example in the place of `max_length`: a batch is padded to no more.

    It is for forecasts alone, and the same where nobody knows the example's length.
    """
    return (
        recipe
        if longest is None
        else recipe.model_copy(update={"max_length": max(16, min(longest, recipe.max_length))})
    )


def longest_that_fits(model: ModelEntry, recipe: Recipe, budget: Budget, calibration: Calibration) -> int | None:
    """The largest `max_length` that fits, a multiple of 16 up to the model's context; None when none does.

    Raises `NotPredicted`.
    """

    def fits(steps: int) -> bool:
        changed = recipe.model_copy(update={"max_length": steps * STEP_OF_LENGTH})
        return forecast(model, changed, budget, calibration).fits

    steps = _largest(fits, longest_searched(model) // STEP_OF_LENGTH)
    return steps * STEP_OF_LENGTH if steps else None


def longest_searched(model: ModelEntry) -> int:
    """Tokens beyond which no length is looked for: the model knows no more positions, as far as its shape tells."""
    context = model.shape.context if model.shape else None
    return LONGEST if context is None else context


def highest_rank_that_fits(model: ModelEntry, recipe: Recipe, budget: Budget, calibration: Calibration) -> int | None:
    """The largest rank that fits, up to `rank_ceiling`; None when none does. Raises `NotPredicted`."""

    def fits(rank: int) -> bool:
        return forecast(model, recipe.model_copy(update={"rank": rank}), budget, calibration).fits

    return _largest(fits, rank_ceiling(model)) or None


def _largest(fits: Callable[[int], bool], bound: int) -> int:
    """The largest number from 1 to `bound` that fits, 0 when none does; memory grows with the number.

    Where the calibration changes between two sizes it may shrink once: then a number that fits while the next does not.
    """
    return bisect.bisect_left(range(1, bound + 1), True, key=lambda number: not fits(number))
