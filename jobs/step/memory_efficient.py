"""Puts the lean layers into a PEFT model: the same modules, parameters and names, another forward pass."""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.lora.layer import LoraLayer
from torch import Tensor, nn

from jobs.step.linear import Frozen, LoraLinear
from jobs.step.mlp import LoraMlp
from jobs.step.norm import RmsNorm

ADAPTER = "default"
# Parts of models that see more than text: their layers have the names of the text model's, and are never trained here.
OTHER_TOWERS = r".*(vision_tower|vision_model|visual|multi_modal_projector|audio_tower).*"
# Rows of random input on which a replacement is compared with what it replaces.
TRIED_ROWS = 4


@dataclass(frozen=True)
class Replaced:
    """How many modules of each kind compute leanly now."""

    linears: int = 0
    mlps: int = 0
    norms: int = 0


def make_lean(model: nn.Module, *, try_out: bool = True) -> Replaced:
    """Give a PEFT model the lean layers where they apply; DoRA and unknown modules keep their own.

    Every class of module is tried on a few random rows first and left alone when the results differ: models name the same
    things alike and compute them otherwise (Gemma's norm adds one to its weight). `try_out=False` is for tensors without
    values.
    """
    linears = [module for module in model.modules() if _is_plain_lora(module)]
    for module in linears:
        _replace(module, _linear_forward)
    mlps = [module for module in model.modules() if _is_gated_mlp(module)]
    norms = [module for module in model.modules() if _is_rms_norm(module)]
    counts = [
        sum(_replace(module, forward) for module in _agreeing(modules, forward, try_out))
        for modules, forward in ((mlps, _mlp_forward), (norms, _norm_forward))
    ]
    return Replaced(len(linears), *counts)


def _replace(module: nn.Module, forward: Callable[..., Tensor]) -> bool:
    module.forward = types.MethodType(forward, module)
    return True


def _is_plain_lora(module: nn.Module) -> bool:
    if not isinstance(module, LoraLayer) or list(module.lora_A) != [ADAPTER]:
        return False
    base = module.get_base_layer()
    return (isinstance(base, nn.Linear) or hasattr(base, "W_q")) and not module.lora_variant


def _is_gated_mlp(module: nn.Module) -> bool:
    parts = [getattr(module, name, None) for name in ("gate_proj", "up_proj", "down_proj")]
    return callable(getattr(module, "act_fn", None)) and all(
        isinstance(part, nn.Module) and _is_plain_lora(part) for part in parts
    )


def _is_rms_norm(module: nn.Module) -> bool:
    named = type(module).__name__.endswith("RMSNorm")
    return named and isinstance(getattr(module, "weight", None), Tensor) and hasattr(module, "variance_epsilon")


def _agreeing(modules: list[Any], forward: Callable[..., Tensor], try_out: bool) -> Iterator[Any]:
    """The modules of those classes whose first module agrees with its replacement."""
    agrees: dict[type, bool] = {}
    for module in modules:
        kind = type(module)
        if kind not in agrees:
            agrees[kind] = not try_out or _agrees(module, forward)
        if agrees[kind]:
            yield module


@torch.no_grad()
def _agrees(module: Any, forward: Callable[..., Tensor]) -> bool:
    was_training = module.training
    module.eval()
    try:
        if isinstance(getattr(module, "weight", None), Tensor):
            width, like = module.weight.shape[-1], module.weight
        else:
            width, like = module.gate_proj.in_features, module.gate_proj.lora_A[ADAPTER].weight
            base = module.gate_proj.get_base_layer()
            like = like.to(base.compute_dtype if hasattr(base, "W_q") else base.weight.dtype)
        # A generator of its own: the training's random numbers must not depend on what is tried here.
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(TRIED_ROWS, width, generator=generator).to(like.device, like.dtype)
        expected, found = type(module).forward(module, x).float(), forward(module, x).float()
    finally:
        module.train(was_training)
    tolerance = 4 * torch.finfo(like.dtype).eps * float(expected.abs().max())
    return bool((expected - found).abs().max() <= tolerance)


def _frozen(layer: Any) -> Frozen:
    dropout = layer.lora_dropout[ADAPTER]
    rate = float(dropout.p) if layer.training and isinstance(dropout, nn.Dropout) else 0.0
    return Frozen(layer.get_base_layer(), float(layer.scaling[ADAPTER]), rate)


def _factors(layer: Any) -> tuple[Tensor, Tensor]:
    return layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight


def _linear_forward(self: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if self.disable_adapters or self.merged:
        usual: Tensor = type(self).forward(self, x, *args, **kwargs)
        return usual
    result: Tensor = LoraLinear.apply(x, *_factors(self), _frozen(self))
    return result


def _mlp_forward(self: Any, x: Tensor) -> Tensor:
    layers = (self.gate_proj, self.up_proj, self.down_proj)
    if any(layer.disable_adapters or layer.merged for layer in layers):
        usual: Tensor = type(self).forward(self, x)
        return usual
    factors = [factor for layer in layers for factor in _factors(layer)]
    result: Tensor = LoraMlp.apply(x, *factors, tuple(_frozen(layer) for layer in layers), self.act_fn)
    return result


def _norm_forward(self: Any, x: Tensor) -> Tensor:
    result: Tensor = RmsNorm.apply(x, self.weight, self.variance_epsilon)
    return result
