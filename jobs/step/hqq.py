"""Weights quantised by HQQ (half-quadratic quantisation, Badri and Shaji 2023), in the library's format, with a backward pass
that holds one weight at a time.

No file of the library is changed. It binds `forward` anew with each layer that is made, so what is overridden is the method it
binds; and it stores a zero and a scale for each group in the dtype of the computation.
"""

from __future__ import annotations

from typing import Any

import torch
from hqq.core.quantize import BaseQuantizeConfig, HQQBackend
from hqq.core.quantize import HQQLinear as LibraryLinear
from torch import Tensor

from core.config.recipe import HqqOptions


class _FrozenProduct(torch.autograd.Function):
    """`x Wᵀ + b` for a quantised weight, which is made whole again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, layer: HQQLinear) -> Tensor:
        ctx.layer, ctx.dtype = layer, x.dtype
        # The library does not cast: fp32 input would fail here, a float16 weight under bf16 autocast in the backward pass.
        return torch.nn.functional.linear(x.to(layer.compute_dtype), layer.dequantize(), layer.bias)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        if not ctx.needs_input_grad[0]:
            return None, None
        return (dy.to(ctx.layer.compute_dtype) @ ctx.layer.dequantize()).to(ctx.dtype), None


# PEFT knows the library's layer by the name of its class.
class HQQLinear(LibraryLinear):  # type: ignore[misc]
    """A frozen, quantised linear layer. `dequantize()` gives [out, in] in `compute_dtype`."""

    def forward_pytorch_backprop(self, x: Tensor) -> Tensor:
        result: Tensor = _FrozenProduct.apply(x, self)
        return result

    def dequantize(self) -> Tensor:
        """The weight. 2, 4 and 8 bits are unpacked in place: one tensor of its size at a time, where the library has three."""
        meta = self.meta
        unpack = {"4bit_u8": (4, 0x0F), "2bit_u8": (2, 0x03), "8bit_u8": (8, 0xFF)}.get(meta["packing"])
        if unpack is None or meta["quant_zero"] or meta["quant_scale"] or meta["view_as_float"]:
            weight: Tensor = super().dequantize()
            return weight
        bits, mask = unpack
        parts, rows = 8 // bits, len(self.W_q)
        weight = torch.empty(parts * rows, self.W_q.shape[1], dtype=self.compute_dtype, device=self.W_q.device)
        for part in range(parts):
            # The first part of the rows lies in the highest bits.
            weight[part * rows : (part + 1) * rows] = (self.W_q >> (8 - bits * (part + 1))).bitwise_and_(mask)
        return weight.sub_(meta["zero"]).mul_(meta["scale"]).view(meta["shape"])


def prepare_library() -> None:
    """Choose the backend that trains on every device. Called once before layers are made."""
    LibraryLinear.set_backend(HQQBackend.PYTORCH_BACKPROP)
    HQQLinear.set_backend(HQQBackend.PYTORCH_BACKPROP)


def quantised(
    weight: Tensor, bias: Tensor | None, options: HqqOptions, dtype: torch.dtype, device: torch.device
) -> Any:
    """A quantised layer on `device`, computing in `dtype`, of a weight [out, in].

    Groups run along the input (axis 1). Raises ValueError when the weight cannot be divided into groups.
    """
    if weight.numel() % options.group_size or (weight.numel() // options.group_size) % (8 // min(options.bits, 8)):
        raise ValueError(f"a weight of {tuple(weight.shape)} does not divide into groups of {options.group_size}")
    config = BaseQuantizeConfig(nbits=options.bits, group_size=options.group_size, axis=1)
    layer = HQQLinear.from_weights(
        weight.to(device),
        None if bias is None else bias.to(device, dtype),
        config,
        compute_dtype=dtype,
        device=str(device),
    )
    return layer.requires_grad_(False)
