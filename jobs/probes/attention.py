"""Which path attention takes: each backend by itself, and the one that is taken when nobody chooses."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

from jobs.probes.common import Tell, device, relative_error

# Heads, tokens, width of a head. The math path keeps a matrix of tokens × tokens for each head.
SHAPE = {"cuda": (16, 2048, 128), "cpu": (4, 256, 64)}
BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "memory-efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}
OPERATORS = {
    "flash": "_scaled_dot_product_flash_attention",
    "memory-efficient": "_scaled_dot_product_efficient_attention",
    "cudnn": "_scaled_dot_product_cudnn_attention",
}


class OperatorLog(TorchDispatchMode):
    """Notes the operators that really run."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # the library annotates nothing here
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


def examine(tell: Tell) -> dict[str, Any]:
    """Causal attention in bf16, forward and backward: the path taken, and of each backend whether it works, its error against
    fp32 and, on a GPU, its peak of memory in bytes."""
    used = device()
    heads, tokens, width = SHAPE[used.type]
    generator = torch.Generator().manual_seed(5)
    q, k, v, dy = (torch.randn(1, heads, tokens, width, generator=generator).bfloat16() for _ in range(4))
    tell("the reference in fp32")
    with sdpa_kernel([SDPBackend.MATH]):
        expected = attend(q.float(), k.float(), v.float(), dy.float())
    on_device = [one.to(used) for one in (q, k, v, dy)]
    found: dict[str, dict[str, Any]] = {}
    for name, backend in BACKENDS.items():
        if name == "cudnn" and (used.type == "cpu" or torch.version.hip):
            continue
        tell(name)
        found[name] = tried([backend], on_device, expected)
    tell("the path taken")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with OperatorLog() as log:
            attend(*on_device)
    peak = tried(None, on_device, expected)["peak_bytes"]
    return {
        "device": used.type,
        "shape": {"heads": heads, "tokens": tokens, "width": width},
        "taken": path_taken(log.names),
        "peak_bytes": peak,
        "backends": found,
        "aotriton": uses_aotriton(),
        "said": [str(one.message).splitlines()[0] for one in said][:3],
    }


def attend(q: Tensor, k: Tensor, v: Tensor, dy: Tensor) -> list[Tensor]:
    """Output and the gradients of q, k and v."""
    q, k, v = (one.detach().clone().requires_grad_() for one in (q, k, v))
    y = torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
    y.backward(dy)
    return [y.detach(), *(one.grad for one in (q, k, v) if one.grad is not None)]


def tried(backends: list[SDPBackend] | None, inputs: list[Tensor], expected: list[Tensor]) -> dict[str, Any]:
    """How one backend (None: whichever torch takes) did."""
    on_gpu = inputs[0].is_cuda
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            if on_gpu:
                torch.cuda.synchronize()
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
                before = torch.cuda.memory_allocated()
            if backends is None:
                outputs = attend(*inputs)
            else:
                with sdpa_kernel(backends):
                    outputs = attend(*inputs)
            if on_gpu:
                torch.cuda.synchronize()
        except RuntimeError as error:  # "No available kernel" and the like: what it warned of says why
            return {"works": False, "why": reason([str(one.message) for one in said], str(error)), "peak_bytes": None}
    errors = [relative_error(one, other) for one, other in zip(outputs, expected, strict=True)]
    peak = torch.cuda.max_memory_allocated() - before if on_gpu else None
    return {"works": True, "forward_error": errors[0], "backward_error": max(errors[1:]), "peak_bytes": peak}


def reason(warned: list[str], error: str) -> str:
    """Why a backend was refused: torch warns of each one's reason, and of those that were switched off for the trial."""
    noise = ("not used because", "runtime disabled", "not compiled with")
    telling = [words for words in warned if not any(word in words for word in noise)]
    return (telling or [error])[0].strip().splitlines()[0]


def path_taken(operators: list[str]) -> str:
    """The backend of the operators that ran; `math` when none of the fused ones did."""
    for name, operator in OPERATORS.items():
        if any(one.startswith(operator) for one in operators):
            return name
    return "math"


def uses_aotriton() -> bool | None:
    """On ROCm, whether the fused paths are AOTriton's (CK is the other); None elsewhere."""
    if not torch.version.hip:
        return None
    preferred = getattr(torch.backends.cuda, "preferred_rocm_fa_library", None)
    return preferred is None or "ck" not in str(preferred()).lower().rpartition(".")[2]
