"""A linear layer with LoRA: `y = x Wᵀ + b + s · drop(x) Aᵀ Bᵀ`, with nothing kept for the backward pass but `x` and a mask.

LoRA: Hu et al. 2021, arXiv 2106.09685. Autograd's own way keeps the dropped input and makes three tensors of the size of the
output; here the adapter's part is added into the output, and the gradients are written down. Weights are frozen: they get no
gradient, and quantised ones are made whole again for each product and let go after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Frozen:
    """The frozen part of one layer, and the adapter's scale and dropout. `base` is an nn.Linear or an HQQLinear."""

    base: Any
    scale: float
    dropout: float

    def weight(self, dtype: torch.dtype) -> Tensor:
        """[out, in] in `dtype`."""
        weight: Tensor = self.base.dequantize() if hasattr(self.base, "W_q") else self.base.weight
        return weight if weight.dtype == dtype else weight.to(dtype)

    @property
    def bias(self) -> Tensor | None:
        bias: Tensor | None = self.base.bias
        return bias

    @property
    def factor(self) -> float:
        """What `(x · mask) Aᵀ Bᵀ` is multiplied by: inverted dropout's 1/(1-p) is part of it."""
        return self.scale / (1.0 - self.dropout)

    def draw_mask(self, like: Tensor) -> Tensor | None:
        """Which inputs the adapter sees, a bool for each; None without dropout."""
        if self.dropout == 0.0:
            return None
        return torch.empty_like(like, dtype=torch.bool).bernoulli_(1.0 - self.dropout)


def forward(
    x: Tensor, weight: Tensor, a: Tensor, b: Tensor, frozen: Frozen, mask: Tensor | None
) -> tuple[Tensor, Tensor]:
    """(output [tokens, out], `drop(x) Aᵀ` [tokens, rank]) for `x` [tokens, in]. `a` [rank, in], `b` [out, rank]."""
    y = torch.nn.functional.linear(x, weight, frozen.bias)
    z = (x if mask is None else x * mask) @ a.to(x.dtype).t()
    y.addmm_(z, b.to(x.dtype).t(), alpha=frozen.factor)
    return y, z


def backward_adapter(
    dy: Tensor, x: Tensor, z: Tensor, b: Tensor, frozen: Frozen, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """(dA [rank, in], dB [out, rank], gradient of `z` [tokens, rank]), in the dtype of `dy`."""
    dz = (dy @ b.to(dy.dtype)).mul_(frozen.factor)
    db = (dy.t() @ z).mul_(frozen.factor)
    da = dz.t() @ (x if mask is None else x * mask)
    return da, db, dz


def backward_input(
    dy: Tensor, dz: Tensor, weight: Tensor, a: Tensor, mask: Tensor | None, onto: Tensor | None = None
) -> Tensor:
    """The gradient of `x` [tokens, in], added to `onto` where that is given."""
    dx = dy @ weight if onto is None else onto.addmm_(dy, weight)
    if mask is None:
        return dx.addmm_(dz, a.to(dy.dtype))
    return dx.add_((dz @ a.to(dy.dtype)).mul_(mask))


class LoraLinear(torch.autograd.Function):
    """`apply(x, a, b, frozen)` → [..., out]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, a: Tensor, b: Tensor, frozen: Frozen) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        mask = frozen.draw_mask(rows)
        y, z = forward(rows, frozen.weight(x.dtype), a, b, frozen, mask)
        ctx.save_for_backward(x, a, b, z, mask)
        ctx.frozen = frozen
        return y.view(*x.shape[:-1], y.shape[-1])

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, a, b, z, mask = ctx.saved_tensors
        frozen: Frozen = ctx.frozen
        rows, dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
        da, db, dz = backward_adapter(dy, rows, z, b, frozen, mask)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = backward_input(dy, dz, frozen.weight(dy.dtype), a, mask).view_as(x)
        return dx, da.to(a.dtype), db.to(b.dtype), None
