"""Small layers, forward and backward, held against fp32: plain bf16, our HQQ layer, and bitsandbytes where it is installed."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor

from jobs.probes.common import Tell, against_fp32, both_ways, device, relative_error, require

TOKENS, WIDTH, HIDDEN = 128, 256, 512
SPEED_SIDE = {"cuda": 4096, "cpu": 512}
SPEED_ROUNDS = 10


def inputs(out_features: int = WIDTH) -> tuple[Tensor, Tensor]:
    """An input and an output gradient in bf16, the same in every run."""
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(TOKENS, WIDTH, generator=generator).bfloat16()
    return x, torch.randn(TOKENS, out_features, generator=generator).bfloat16()


def weight(out_features: int, in_features: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(out_features, in_features, generator=generator) / math.sqrt(in_features)).bfloat16()


def bf16(tell: Tell) -> dict[str, Any]:
    """A gated MLP in bf16 against fp32 with the same numbers, and the speed of a product in either."""
    used = device()
    up, gate, down = weight(HIDDEN, WIDTH, 1), weight(HIDDEN, WIDTH, 2), weight(WIDTH, HIDDEN, 3)

    def mlp(x: Tensor, *weights: Tensor) -> Tensor:
        up, gate, down = weights
        return (torch.nn.functional.silu(x @ gate.T) * (x @ up.T)) @ down.T

    x, dy = inputs()
    tell("a gated MLP in bf16")
    on_device = [w.to(used) for w in (up, gate, down)]
    in_fp32 = [w.float() for w in (up, gate, down)]
    figures = against_fp32(lambda x: mlp(x, *on_device), lambda x: mlp(x, *in_fp32), x.to(used), dy.to(used))
    tell("the speed of a product in bf16")
    figures["tflops"] = tflops(used, torch.bfloat16)
    tell("the speed of a product in fp32")
    figures["fp32_tflops"] = tflops(used, torch.float32)
    return {"device": used.type, **figures}


def tflops(used: torch.device, dtype: torch.dtype) -> float:
    """10¹² operations a second of a square product, the best of some rounds after a first one that is not counted."""
    side = SPEED_SIDE[used.type]
    a = torch.randn(side, side, device=used).to(dtype)

    def once() -> float:
        start = time.perf_counter()
        b = a @ a
        float(b[0, 0])  # waits for a GPU
        return time.perf_counter() - start

    once()
    return 2 * side**3 / min(once() for _ in range(SPEED_ROUNDS)) / 1e12


def hqq(tell: Tell) -> dict[str, Any]:
    """The layer of `jobs.step.hqq` against fp32 with its own de-quantised weight, and that weight's own error."""
    require("hqq")
    from core.config.recipe import HqqOptions
    from jobs.step.hqq import prepare_library, quantised

    used = device()
    prepare_library()
    original = weight(HIDDEN, WIDTH, 4)
    tell("quantising")
    layer = quantised(original, None, HqqOptions(bits=4, group_size=64), torch.bfloat16, used)
    restored = layer.dequantize().float().cpu()
    x, dy = inputs(HIDDEN)
    tell("forward and backward")
    figures = against_fp32(layer, lambda x: x @ restored.T, x.to(used), dy.to(used))
    tell("under autocast")
    with torch.autocast(used.type, dtype=torch.bfloat16):
        y, _ = both_ways(layer, x.to(used).float(), dy.to(used))
    figures["autocast_error"] = relative_error(y, x.float() @ restored.T)
    return {"device": used.type, "weight_error": relative_error(restored, original), **figures}


def bitsandbytes(tell: Tell) -> dict[str, Any]:
    """Its 4-bit layer (NF4) against fp32 with the weight as it restores it."""
    require("bitsandbytes")
    tell("importing bitsandbytes")
    import bitsandbytes as library

    used = device()
    original = weight(HIDDEN, WIDTH, 4)
    layer = library.nn.Linear4bit(WIDTH, HIDDEN, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4")
    layer.weight = library.nn.Params4bit(original.clone(), requires_grad=False, quant_type="nf4")
    tell("quantising")
    layer = layer.to(used)
    restored = library.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state).float().cpu()
    x, dy = inputs(HIDDEN)
    tell("forward and backward")
    figures = against_fp32(layer, lambda x: x @ restored.T, x.to(used), dy.to(used))
    return {"device": used.type, "weight_error": relative_error(restored, original), **figures}
