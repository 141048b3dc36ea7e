"""The loss on completion tokens without their logits: made for a few positions at a time, together with its gradient.

The head is frozen, so the gradient of the hidden states is all that is wanted: it is ready when the loss is, and nothing of
the size of the vocabulary is kept. Prompt and padding are never projected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# Bytes of logits (fp32, with the bf16 they come from) that may be alive at a time. A GPU wants some hundred rows in a product.
LOGIT_BYTES = 128_000_000
FEWEST_ROWS = 32
# What Cohere, Muse and Falcon-H1 call the factor on the logits.
SCALES = ("logit_scale", "output_multiplier", "lm_head_multiplier")


@dataclass(frozen=True)
class Head:
    """How logits come from hidden states: `softcap(scale · (h Wᵀ + bias))`; `softcap` is c·tanh(·/c)."""

    weight: Tensor  # [vocabulary, hidden]
    bias: Tensor | None = None
    scale: float = 1.0
    softcap: float | None = None

    @classmethod
    def of(cls, model: Any) -> Head:
        """The head of a causal language model. The names are those of transformers' configurations."""
        config = model.config.get_text_config()
        layer = model.get_output_embeddings()
        scale = next((v for n in SCALES if (v := getattr(config, n, None)) is not None), None)
        if scale is None and (divisor := getattr(config, "logits_scaling", None)) is not None:
            scale = divisor if config.model_type == "hyperclovax" else 1.0 / divisor
        softcap = getattr(config, "final_logit_softcapping", None)
        return cls(layer.weight, layer.bias, 1.0 if scale is None else float(scale), softcap)

    def rows_at_a_time(self) -> int:
        """Positions whose logits fit into the allowance."""
        per_row = self.weight.shape[0] * (4 + self.weight.element_size())
        return max(FEWEST_ROWS, LOGIT_BYTES // per_row)


class CompletionLoss(torch.autograd.Function):
    """`apply(hidden, targets, head, count)` → the negative log-likelihood, summed and divided by `count` (fp32, scalar).

    `hidden` [positions, hidden size] are the states that predict `targets` [positions]; `count` is a number or a scalar
    tensor: all tokens of the optimizer step.
    """

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, targets: Tensor, head: Head, count: Tensor | float = 1.0) -> Tensor:
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        rows = head.rows_at_a_time()
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            logits = torch.nn.functional.linear(hidden[part], head.weight, head.bias).float()
            if head.scale != 1.0:
                logits.mul_(head.scale)
            capped: Tensor | None = None
            if head.softcap is not None:
                logits.div_(head.softcap).tanh_()
                capped = logits.clone() if gradient is not None else None
                logits.mul_(head.softcap)
            chosen = targets[part, None]
            normaliser = torch.logsumexp(logits, -1, keepdim=True)
            total += (normaliser - logits.gather(-1, chosen)).sum()
            if gradient is None:
                continue
            slope = logits.sub_(normaliser).exp_()  # softmax, then minus one at the target
            slope.scatter_add_(-1, chosen, torch.full_like(chosen, -1.0, dtype=slope.dtype))
            if capped is not None:
                slope.mul_(1 - capped.square_())
            if head.scale != 1.0:
                slope.mul_(head.scale)
            # Here and not behind the product: on a GPU a 16-bit tensor rounds the scalar that it is divided by.
            slope.div_(count)
            torch.mm(slope.to(hidden.dtype), head.weight, out=gradient[part])
            del logits, slope
        ctx.save_for_backward(gradient)
        return total / count

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return (gradient * grad).to(gradient.dtype), None, None, None
