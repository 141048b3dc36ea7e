"""A gated MLP with LoRA on its three layers, `down(act(gate(x)) · up(x))`, as one node of the graph.

Kept for the backward pass: `x`, the outputs of gate and up, and the masks. The product that goes into `down` is made again for
some tokens at a time, and the gradients of gate and up are written over their values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from jobs.step.linear import Frozen, backward_adapter, backward_input, forward

# Tokens whose product is made at a time in the backward pass: enough for a GPU's matrix units, little beside 2048.
TOKENS_AT_A_TIME = 256


def _parts(tokens: int) -> Iterator[slice]:
    return (slice(start, start + TOKENS_AT_A_TIME) for start in range(0, tokens, TOKENS_AT_A_TIME))


class LoraMlp(torch.autograd.Function):
    """`apply(x, gate a, gate b, up a, up b, down a, down b, layers, act)` → [..., hidden].

    `layers` are the frozen parts of gate, up and down, `act` works elementwise. The backward pass can be run once: it
    writes over what was kept.
    """

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gate_a: Tensor,
        gate_b: Tensor,
        up_a: Tensor,
        up_b: Tensor,
        down_a: Tensor,
        down_b: Tensor,
        layers: tuple[Frozen, Frozen, Frozen],
        act: Callable[[Tensor], Tensor],
    ) -> Tensor:
        rows = x.reshape(-1, x.shape[-1])
        gate_mask, up_mask = layers[0].draw_mask(rows), layers[1].draw_mask(rows)
        gate, gate_z = forward(rows, layers[0].weight(x.dtype), gate_a, gate_b, layers[0], gate_mask)
        up, up_z = forward(rows, layers[1].weight(x.dtype), up_a, up_b, layers[1], up_mask)
        down_mask = layers[2].draw_mask(gate)
        y, down_z = torch.empty_like(rows), rows.new_empty(len(rows), len(down_a))
        weight = layers[2].weight(x.dtype)
        for part in _parts(len(rows)):
            product = act(gate[part]).mul_(up[part])
            mask = None if down_mask is None else down_mask[part]
            y[part], down_z[part] = forward(product, weight, down_a, down_b, layers[2], mask)
        ctx.save_for_backward(
            x, gate_a, gate_b, up_a, up_b, down_a, down_b, gate, up, gate_z, up_z, down_z, gate_mask, up_mask, down_mask
        )
        ctx.layers, ctx.act = layers, act
        return y.view_as(x)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors  # asked for once: under checkpointing each asking recomputes
        x, gate_a, gate_b, up_a, up_b, down_a, down_b = saved[:7]
        gate, up, gate_z, up_z, down_z, gate_mask, up_mask, down_mask = saved[7:]
        del saved
        layers: tuple[Frozen, Frozen, Frozen] = ctx.layers
        rows, dy = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])

        down_da = torch.zeros(down_a.shape, dtype=torch.float32, device=dy.device)
        down_db = torch.zeros(down_b.shape, dtype=torch.float32, device=dy.device)
        weight = layers[2].weight(dy.dtype)
        for part in _parts(len(rows)):
            mask = None if down_mask is None else down_mask[part]
            with torch.enable_grad():
                part_gate, part_up = gate[part].detach().requires_grad_(), up[part].detach().requires_grad_()
                product = ctx.act(part_gate) * part_up
            da, db, dz = backward_adapter(dy[part], product.detach(), down_z[part], down_b, layers[2], mask)
            down_da += da
            down_db += db
            d_product = backward_input(dy[part], dz, weight, down_a, mask)
            d_gate, d_up = torch.autograd.grad(product, (part_gate, part_up), d_product)
            gate[part], up[part] = d_gate, d_up
        del weight, product, d_product, d_gate, d_up, part_gate, part_up, down_mask, mask, dy

        gate_da, gate_db, gate_dz = backward_adapter(gate, rows, gate_z, gate_b, layers[0], gate_mask)
        up_da, up_db, up_dz = backward_adapter(up, rows, up_z, up_b, layers[1], up_mask)
        dx = None
        if ctx.needs_input_grad[0]:
            dx = backward_input(gate, gate_dz, layers[0].weight(gate.dtype), gate_a, gate_mask)
            dx = backward_input(up, up_dz, layers[1].weight(up.dtype), up_a, up_mask, onto=dx).view_as(x)
        return (
            dx,
            gate_da.to(gate_a.dtype),
            gate_db.to(gate_b.dtype),
            up_da.to(up_a.dtype),
            up_db.to(up_b.dtype),
            down_da.to(down_a.dtype),
            down_db.to(down_b.dtype),
            None,
            None,
        )
