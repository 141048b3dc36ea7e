"""Which examples are trained, and in which order: functions of the recipe's seed alone, so that a resumed run sees the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from core.config.recipe import Recipe
from core.data.render import FittedExample


def length(example: FittedExample) -> int:
    """Tokens of an example."""
    return len(example.prompt_ids) + len(example.completion_ids)


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

    @property
    def steps(self) -> int:
        """Optimizer steps of an epoch."""
        return -(-len(self.lengths) // self.per_step)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator).tolist()
        for start in range(0, len(order), self.per_step):
            step = order[start : start + self.per_step]
            yield from sorted(step, key=lambda index: self.lengths[index], reverse=True)


def held_out_lines(examples: Sequence[FittedExample], recipe: Recipe) -> frozenset[int]:
    """The lines of the data set that are held out, drawn with the recipe's seed.

    Lines, not examples: the turns of one conversation stand on the same side.
    """
    lines = sorted({item.line for item in examples})
    if not recipe.eval_fraction or len(lines) < 2:
        return frozenset()
    count = min(len(lines) - 1, max(1, round(len(lines) * recipe.eval_fraction)))
    generator = torch.Generator().manual_seed(recipe.seed)
    chosen = torch.randperm(len(lines), generator=generator)[:count].tolist()
    return frozenset(lines[index] for index in chosen)
