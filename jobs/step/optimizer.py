"""AdamW that holds less: adapters in bf16 with the rest of their fp32 value beside them, moments in fp32 or in 8 bits.

Bytes a parameter, gradient included: torch's AdamW 16; here 14 with bf16 adapters, 8.1 with 8-bit moments besides.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any, Literal

import torch
from torch import Tensor

Moments = Literal["fp32", "8bit"]
# Values that share a scale. Dettmers et al. 2021, arXiv 2110.02861, take 2048 on a GPU; smaller blocks cost 4 bytes each.
BLOCK = 256
# A tensor below this size keeps its moments in fp32: there is nothing to be gained.
SMALLEST = 4096
# What the state holds instead of the two moments when they are in 8 bits.
CODED = ("first_codes", "first_scale", "root_codes", "root_scale")


def split(value: Tensor) -> tuple[Tensor, Tensor]:
    """An fp32 tensor as (bf16, int16): the nearest bf16, and what the 32 bits differ from it. `join` is exact."""
    bits = value.view(torch.int32)
    high = (bits + 0x8000) >> 16  # halves away from zero: with halves to even the difference would not fit 16 bits
    return high.to(torch.int16).view(torch.bfloat16), (bits - (high << 16)).to(torch.int16)


def join(high: Tensor, low: Tensor) -> Tensor:
    """The fp32 tensor that `split` was given."""
    return ((high.view(torch.int16).to(torch.int32) << 16) + low).view(torch.float32)


@functools.cache
def _values(signed: bool) -> tuple[float, ...]:
    """256 values in [-1, 1] or [0, 1], ascending.

    The dynamic tree of Dettmers 2015, arXiv 1511.04561: seven decades, each half as finely divided as the one above it.
    """
    values = [0.0, 1.0]
    for decade in range(7):
        parts = (1 if signed else 2) * 2**decade
        middles = [(0.1 + 0.9 * (part + 0.5) / parts) * 10.0 ** (decade - 6) for part in range(parts)]
        values += middles
        values += [-value for value in middles] if signed else []
    return tuple(sorted(values))


class Codes:
    """Tensors as 8-bit codes on one device, with an fp32 scale for each block of values."""

    def __init__(self, device: torch.device, *, signed: bool) -> None:
        self.signed = signed
        self.values = torch.tensor(_values(signed), dtype=torch.float32, device=device)
        self.limits = (self.values[:-1] + self.values[1:]) / 2

    def pack(self, value: Tensor) -> tuple[Tensor, Tensor]:
        """(uint8 codes [blocks, BLOCK], scales [blocks, 1])."""
        flat = value.reshape(-1)
        blocks = torch.nn.functional.pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)
        scale = blocks.abs().amax(-1, keepdim=True)
        codes = torch.bucketize(blocks / scale.clamp_min(torch.finfo(torch.float32).tiny), self.limits)
        if not self.signed:
            # What the update divides by must not become zero by rounding.
            codes = torch.where(blocks > 0, codes.clamp_min(1), codes)
        return codes.to(torch.uint8), scale

    def unpack(self, codes: Tensor, scale: Tensor, like: Tensor) -> Tensor:
        """fp32, in the shape of `like`."""
        return (self.values[codes.int()] * scale).view(-1)[: like.numel()].view(like.shape)


class LeanAdamW(torch.optim.Optimizer):
    """AdamW (Loshchilov and Hutter 2017, arXiv 1711.05101) for parameters in fp32 or bf16.

    Of a bf16 parameter the state holds the 16 bits that are missing to its fp32 value, so no update is ever lost to rounding.
    With `moments="8bit"` the first moment and the root of the second are kept in blocks of 8-bit codes; the root, for that is
    what the update divides by, and it spans as many decades as the first moment does, not twice as many.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        moments: Moments = "fp32",
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})
        self.moments = moments
        self._codes: dict[tuple[torch.device, bool], Codes] = {}

    def _coder(self, device: torch.device, *, signed: bool) -> Codes:
        """Made once: copying the values to a GPU waits for all that it has to do."""
        if (device, signed) not in self._codes:
            self._codes[device, signed] = Codes(device, signed=signed)
        return self._codes[device, signed]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        if closure is not None:
            raise ValueError("a closure is not supported")
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, group)

    def _update(self, parameter: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = 0
            if parameter.dtype == torch.bfloat16:
                state["low"] = torch.zeros_like(parameter, dtype=torch.int16)
            zeros = torch.zeros_like(parameter, dtype=torch.float32)
            self._keep(state, zeros, zeros.clone())
        state["step"] += 1
        first, second = self._moments(state, parameter)
        gradient = parameter.grad.float()  # type: ignore[union-attr]
        beta1, beta2 = group["betas"]
        first.lerp_(gradient, 1 - beta1)
        second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)

        value = join(parameter, state["low"]) if "low" in state else parameter
        value.mul_(1 - group["lr"] * group["weight_decay"])
        bias1, bias2 = 1 - beta1 ** state["step"], 1 - beta2 ** state["step"]
        value.addcdiv_(first, second.sqrt().div_(bias2**0.5).add_(group["eps"]), value=-group["lr"] / bias1)
        if "low" in state:
            high, low = split(value)
            parameter.copy_(high)
            state["low"].copy_(low)
        self._keep(state, first, second)

    def _moments(self, state: dict[str, Any], like: Tensor) -> tuple[Tensor, Tensor]:
        """(first, second) in fp32; what is done to fp32 ones is done to the state."""
        if "exp_avg" in state:
            return state["exp_avg"], state["exp_avg_sq"]
        signed, unsigned = (self._coder(like.device, signed=signed) for signed in (True, False))
        first = signed.unpack(state["first_codes"], state["first_scale"], like)
        return first, unsigned.unpack(state["root_codes"], state["root_scale"], like).square_()

    def _keep(self, state: dict[str, Any], first: Tensor, second: Tensor) -> None:
        if self.moments == "fp32" or first.numel() < SMALLEST:
            state["exp_avg"], state["exp_avg_sq"] = first, second
            return
        state.pop("exp_avg", None)
        state.pop("exp_avg_sq", None)
        signed, unsigned = (self._coder(first.device, signed=signed) for signed in (True, False))
        state["first_codes"], state["first_scale"] = signed.pack(first)
        state["root_codes"], state["root_scale"] = unsigned.pack(second.sqrt())

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state, also that of torch's AdamW and that of other moments than ours.

        torch's own method would cast everything to the dtype of the parameter.
        """
        groups = state_dict["param_groups"]
        if [len(group["params"]) for group in groups] != [len(group["params"]) for group in self.param_groups]:
            raise ValueError("the state belongs to other parameters")
        for mine, theirs in zip(self.param_groups, groups, strict=True):
            mine.update(
                {key: theirs[key] for key in ("lr", "betas", "eps", "weight_decay", "initial_lr") if key in theirs}
            )
            for parameter, number in zip(mine["params"], theirs["params"], strict=True):
                if number not in state_dict["state"]:
                    continue
                found = state_dict["state"][number]
                state = {
                    key: value.to(parameter.device, copy=True) if isinstance(value, Tensor) else value
                    for key, value in found.items()
                }
                state["step"] = int(state["step"])
                if ("first_codes" in state) != (self.moments == "8bit"):
                    first, second = self._moments(state, parameter)
                    for key in CODED:
                        state.pop(key, None)
                    self._keep(state, first, second)
                if parameter.dtype == torch.bfloat16:
                    state.setdefault("low", torch.zeros_like(parameter, dtype=torch.int16))
                self.state[parameter] = state


def make_optimizer(
    parameters: Iterable[Any], *, lr: float, weight_decay: float, moments: Moments
) -> torch.optim.Optimizer:
    """torch's fused AdamW where it does the same; else the lean one. `parameters` as every optimizer takes them."""
    listed = list(parameters)
    groups = listed if listed and isinstance(listed[0], dict) else [{"params": listed}]
    for group in groups:
        group["params"] = list(group["params"])
    narrow = any(parameter.dtype == torch.bfloat16 for group in groups for parameter in group["params"])
    if moments == "fp32" and not narrow:
        return torch.optim.AdamW(groups, lr=lr, weight_decay=weight_decay, fused=True)
    return LeanAdamW(groups, lr=lr, weight_decay=weight_decay, moments=moments)
