"""Which examples are trained, and in which order: functions of the recipe's seed alone, so that a resumed run sees the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from core.config.recipe import Recipe
from core.data.render import Fitted


class StepOrder(Sampler[int]):
    """A new random order each epoch, a function of seed and epoch alone, so that a resumed run sees the same one.

    Within the examples of one optimizer step, long ones stand with long ones: the step's gradient is that of the same
    examples, and less is padded.
    """

    def __init__(self, lengths: Sequence[int], per_step: int, seed: int) -> None:
        self.lengths = lengths
        self.per_step = per_step
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        for start in range(0, len(order), self.per_step):
            step = order[start : start + self.per_step]
            yield from sorted(step, key=lambda index: self.lengths[index], reverse=True)


def split(examples: Sequence[Fitted], recipe: Recipe) -> tuple[list[Fitted], list[Fitted]]:
    """(held out, trained), drawn with the recipe's seed."""
    if not recipe.eval_fraction or len(examples) < 2:
        return [], list(examples)
    count = min(len(examples) - 1, max(1, round(len(examples) * recipe.eval_fraction)))
    generator = torch.Generator().manual_seed(recipe.seed)
    chosen = set(torch.randperm(len(examples), generator=generator)[:count].tolist())
    held_out = [item for index, item in enumerate(examples) if index in chosen]
    return held_out, [item for index, item in enumerate(examples) if index not in chosen]
