"""The products of a LoRA, rank by rank, each by itself.

What this shows: that the results are right, and that these products did not fault where their tensors lay. What it cannot show:
that a training does not fault. Whether a read past a tensor's end faults depends on what lies behind it (20 million such
products came through on a machine whose trainings faulted 7 times of 7: ROCm issue 6647). `jobs.stress` trains.
"""

from __future__ import annotations

from typing import Any

import torch

from jobs.probes.common import Tell, device, relative_error
from jobs.probes.layers import weight

RANKS = (1, 2, 4, 8, 16, 32, 64)
# Tokens, width, rounds: on a GPU, those of a small model's layer.
SIZES = {"cuda": (2048, 2560, 20), "cpu": (128, 256, 1)}


def examine(tell: Tell) -> dict[str, Any]:
    """The largest relative error against fp32 among the outputs and gradients of every rank, in bf16."""
    used = device()
    tokens, width, rounds = SIZES[used.type]
    generator = torch.Generator().manual_seed(11)
    x = torch.randn(tokens, width, generator=generator).bfloat16()
    dy = torch.randn(tokens, width, generator=generator).bfloat16()
    errors: dict[str, float] = {}
    for rank in RANKS:
        tell(f"rank {rank}")
        down, up = weight(rank, width, rank), weight(width, rank, 100 + rank)
        for _ in range(rounds):
            found = products(x.to(used), down.to(used), up.to(used), dy.to(used))
        expected = products(x.float(), down.float(), up.float(), dy.float())
        errors[str(rank)] = max(relative_error(one, other) for one, other in zip(found, expected, strict=True))
    return {"device": used.type, "rounds": rounds, "errors": errors, "largest_error": max(errors.values())}


def products(x: torch.Tensor, down: torch.Tensor, up: torch.Tensor, dy: torch.Tensor) -> list[torch.Tensor]:
    """Output and the gradients of input, A and B of `x Aᵀ Bᵀ`."""
    x, down, up = (one.detach().clone().requires_grad_() for one in (x, down, up))
    y = (x @ down.T) @ up.T
    y.backward(dy)
    gradients = [one.grad for one in (x, down, up)]
    return [y.detach(), *(one for one in gradients if one is not None)]
