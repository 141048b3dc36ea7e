"""RMSNorm that keeps its input and one number a row, instead of the fp32 copies that autograd would keep."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class RmsNorm(torch.autograd.Function):
    """`apply(x, weight, eps)` → `weight · (x / rms(x))`, over the last dimension, for a frozen weight.

    RMSNorm: Zhang and Sennrich 2019, arXiv 1910.07467. Computed in fp32 and rounded to the dtype of `x` before the weight, in
    the order of transformers' Llama and Qwen models, so that the results are theirs bit for bit.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        wide = x.float()
        inverse = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, weight, inverse)
        # fp32 input: `wide` is `x` itself and must stay as it is.
        normed = wide * inverse if wide is x else wide.mul_(inverse)
        return weight * normed.to(x.dtype)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inverse = ctx.saved_tensors
        # With n = x·inverse: dx = inverse · (g - n · mean(g·n)), g = weight·dy
        gradient = (dy * weight).float()
        normed = x.float() * inverse
        inner = (gradient * normed).mean(-1, keepdim=True)
        return gradient.sub_(normed.mul_(inner)).mul_(inverse).to(x.dtype), None, None
