"""What the probes share: the device, errors against fp32, and the words for what is not there."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

CPU_THREADS = 4

Tell = Callable[[str], None]
"""Says what is tried now, so that a crash has a place."""


class AbsentError(Exception):
    """What the probe looks at is not installed, or not for this device."""


def device() -> torch.device:
    """The GPU where torch sees one, else the CPU on a few threads: a machine may be at work."""
    if torch.cuda.is_available():
        return torch.device("cuda", 0)
    torch.set_num_threads(min(CPU_THREADS, len(os.sched_getaffinity(0))))
    return torch.device("cpu")


def require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise AbsentError(f"{package} is not installed")


def relative_error(value: Tensor, reference: Tensor) -> float:
    """‖value − reference‖ / ‖reference‖ in fp32; infinite when the value holds what is no number."""
    difference = (value.detach().float().cpu() - reference.detach().float().cpu()).norm()
    error = float(difference / reference.detach().float().cpu().norm())
    return error if error == error else float("inf")


def both_ways(run: Callable[[Tensor], Tensor], x: Tensor, dy: Tensor) -> tuple[Tensor, Tensor]:
    """The output of `run` at `x`, and the gradient of `x` for the output's gradient `dy`."""
    x = x.detach().clone().requires_grad_()
    y = run(x)
    y.backward(dy.to(y.dtype))
    assert x.grad is not None
    return y.detach(), x.grad


def against_fp32(
    run: Callable[[Tensor], Tensor], reference: Callable[[Tensor], Tensor], x: Tensor, dy: Tensor
) -> dict[str, Any]:
    """Relative errors of output and input gradient; the reference computes in fp32 on the CPU."""
    y, dx = both_ways(run, x, dy)
    y_reference, dx_reference = both_ways(reference, x.float().cpu(), dy.float().cpu())
    return {"forward_error": relative_error(y, y_reference), "backward_error": relative_error(dx, dx_reference)}
