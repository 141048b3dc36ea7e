"""Settings that fit: what a recipe with `fit: auto` becomes under a budget.

Rank, length and the examples of a step stay. First come choices that change no gradient, the fastest first: how many layers
are computed again, and how many examples go through at once. Only where none of them fits, Adam's moments take 8 bits.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core.config.model import ModelEntry
from core.config.recipe import Recipe
from core.errors import InputError
from core.format import data_size
from core.vram.budget import Budget
from core.vram.calibration import Calibration
from core.vram.forecast import Forecast, forecast, highest_rank_that_fits, longest_that_fits
from core.vram.oom_fallbacks import fallbacks

# More tokens at once make a GPU no faster: its matrix products are as large as it likes from here on.
TOKENS_AT_ONCE = 8192
KEYS = ("batch_size", "accumulation", "activation_checkpointing", "every_n_layers", "optimizer")


@dataclass(frozen=True)
class Change:
    """A key of the recipe with another value."""

    key: str
    before: Any
    after: Any

    def __str__(self) -> str:
        """As a recipe is written: `activation_checkpointing false → true`."""
        before, after = (
            str(value).lower() if isinstance(value, bool) else value for value in (self.before, self.after)
        )
        return f"{self.key} {before} → {after}"


@dataclass(frozen=True)
class Fitted:
    """A recipe for a budget, how it differs from the one that was asked for, and what it will take."""

    recipe: Recipe
    changes: tuple[Change, ...]
    forecast: Forecast


def fit(recipe: Recipe, model: ModelEntry, budget: Budget, calibration: Calibration) -> Fitted:
    """The fastest settings that fit the budget; those that do so with the forecast's error added are preferred.

    Where none does by the central figure, the leanest are returned as long as they may: at the lower end of the error, or once
    what else is in the memory has left. Raises `NotPredicted`, and `InputError` with the longest length and the highest rank
    beyond that.
    """
    for optimizer in ("adamw", "adamw-8bit") if recipe.optimizer == "adamw" else (recipe.optimizer,):
        tight: Fitted | None = None
        for candidate in candidates(recipe.model_copy(update={"optimizer": optimizer}), model):
            expected = forecast(model, candidate, budget, calibration)
            if expected.surely_fits:
                return Fitted(candidate, changes(recipe, candidate), expected)
            if expected.fits and tight is None:
                tight = Fitted(candidate, changes(recipe, candidate), expected)
        if tight is not None:
            return tight
    least = leanest(recipe)
    expected = forecast(model, least, budget, calibration)
    if expected.never_fits:
        raise too_large(recipe, model, budget, calibration)
    return Fitted(least, changes(recipe, least), expected)


def candidates(recipe: Recipe, model: ModelEntry) -> Iterator[Recipe]:
    """The recipes with the same gradients that `fit: auto` chooses among, the fastest first."""
    per_step = recipe.batch_size * recipe.accumulation
    largest = max(recipe.batch_size, TOKENS_AT_ONCE // recipe.max_length, 1)
    batches = [size for size in range(per_step, 0, -1) if per_step % size == 0 and size <= largest]
    for checkpointing, every in checkpointings(model):
        for size in batches:
            yield recipe.model_copy(
                update={
                    "batch_size": size,
                    "accumulation": per_step // size,
                    "activation_checkpointing": checkpointing,
                    "every_n_layers": every,
                }
            )


def checkpointings(model: ModelEntry) -> list[tuple[bool, int]]:
    """(activation_checkpointing, every_n_layers) from none recomputed to all."""
    layers = model.shape.layers if model.shape else 1
    spacings = sorted({every for every in (8, 4, 3, 2, 1) if every < layers} | {1}, reverse=True)
    return [(False, 1), *((True, every) for every in spacings)]


def changes(before: Recipe, after: Recipe) -> tuple[Change, ...]:
    """The keys that differ, in the order of `KEYS`."""
    pairs = ((key, getattr(before, key), getattr(after, key)) for key in KEYS)
    return tuple(Change(key, old, new) for key, old, new in pairs if old != new)


def leanest(recipe: Recipe) -> Recipe:
    """The recipe with the least memory that keeps its rank, length and examples a step."""
    per_step = recipe.batch_size * recipe.accumulation
    return recipe.model_copy(
        update={
            "batch_size": 1,
            "accumulation": per_step,
            "activation_checkpointing": True,
            "every_n_layers": 1,
            "optimizer": "adamw-8bit",
        }
    )


def stepped_down(recipe: Recipe, model: ModelEntry, budget: Budget, calibration: Calibration) -> Fitted | None:
    """The first rung of the ladder that fits, else the last when it may; None where no rung helps. Raises `NotPredicted`."""
    last: Fitted | None = None
    for rung in fallbacks(recipe):
        last = Fitted(rung, changes(recipe, rung), forecast(model, rung, budget, calibration))
        if last.forecast.fits:
            return last
    return None if last is None or last.forecast.never_fits else last


def too_large(recipe: Recipe, model: ModelEntry, budget: Budget, calibration: Calibration) -> InputError:
    """The error for a recipe that is too large as it was asked for.

    Its remedy is the settings that would fit, or where there are none the length and the rank that would.
    """
    asked, least = forecast(model, recipe, budget, calibration), leanest(recipe)
    lean = forecast(model, least, budget, calibration)
    settings = ", ".join(map(str, changes(recipe, least)))
    takes = f"takes {data_size(asked.device_bytes)}"
    if lean.never_fits and settings:
        takes += f", at least {data_size(lean.device_bytes)} ({settings})"
    in_use = f", {budget.in_use}" if budget.in_use else ""
    there = f"{budget.name} has {data_size(budget.limit_bytes)} for it, of {data_size(budget.total_bytes)}{in_use}"
    down = stepped_down(recipe, model, budget, calibration)
    if down is not None:
        remedy = f"{', '.join(map(str, down.changes))}; or set `fit: auto` or `out_of_memory: ladder`"
    else:
        length = longest_that_fits(model, least, budget, calibration)
        rank = highest_rank_that_fits(model, least, budget, calibration)
        ways = [
            f"max_length {length} at rank {recipe.rank}" if length else "",
            f"rank {rank} at max_length {recipe.max_length}" if rank else "",
        ]
        remedy = " or ".join(way for way in ways if way)
        # `fit: auto` finds these settings by itself.
        so = f", with {settings}" if settings and recipe.fit is None and recipe.out_of_memory == "fail" else ""
        remedy = f"{remedy} would fit{so}" if remedy else "take a smaller model, or method: qlora-hqq"
    key = "fit" if recipe.fit else "max_length" if down is None else "out_of_memory"
    return InputError(
        f"{model.name} with rank {recipe.rank} at {recipe.max_length} tokens {takes}; {there}",
        code="too_large",
        key=key,
        remedy=f"{remedy}; `bakehouse plan` compares the models",
    )
