"""The fallbacks for too little memory, in their order: the job takes them, the forecast predicts them.

1. Smaller micro-batches with as much more accumulation: the same optimizer steps.
2. The activations of every layer recomputed: the same numbers, slower.
3. An 8-bit optimizer.
4. Shorter examples, again and again: this one alone changes what is learnt from.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from core.config.recipe import Recipe

SHORTER = 0.75
LENGTH_MULTIPLE = 64

Changes = dict[str, tuple[Any, Any]]
"""Key of the recipe → (value before, value after)."""


def next_fallback(recipe: Recipe, longest: int | None = None) -> tuple[Recipe, Changes] | None:
    """The recipe one fallback on, and what was changed; None when none is left.

    `longest` is the number of tokens of the longest example: a `max_length` above it would change nothing. Where it is not
    known, examples are not shortened.
    """
    after = _next(recipe, longest)
    if after is None:
        return None
    changes = {key: (getattr(recipe, key), value) for key, value in after.items() if getattr(recipe, key) != value}
    return recipe.model_copy(update=after), changes


def fallbacks(recipe: Recipe, longest: int | None = None) -> Iterator[Recipe]:
    """The recipe after each fallback; nothing comes for one that has none left."""
    while (found := next_fallback(recipe, longest)) is not None:
        recipe, _ = found
        yield recipe


def _next(recipe: Recipe, longest: int | None) -> dict[str, Any] | None:
    if recipe.batch_size > 1:
        divisor = next(number for number in range(2, recipe.batch_size + 1) if recipe.batch_size % number == 0)
        return {"batch_size": recipe.batch_size // divisor, "accumulation": recipe.accumulation * divisor}
    if not recipe.activation_checkpointing or recipe.every_n_layers > 1:
        return {"activation_checkpointing": True, "every_n_layers": 1}
    if recipe.optimizer != "adamw-8bit":
        return {"optimizer": "adamw-8bit"}
    if longest is None:
        return None
    shorter = int(min(recipe.max_length, longest) * SHORTER) // LENGTH_MULTIPLE * LENGTH_MULTIPLE
    return {"max_length": shorter} if shorter else None
