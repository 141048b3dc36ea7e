"""What a LoRA adapter does to one weight, in fp32, and how much of that a format keeps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from jobs.threads import one_thread

PIECE_VALUES = 1 << 18
"""Of a tensor so many are looked at at once on a CPU."""


@dataclass(frozen=True)
class Update:
    """The change of one weight: factors A (r × in) and B (out × r) with their scale, a weight that replaces it, or both.

    `magnitude` (out) is DoRA's. `transposed`: the weight is stored in × out, as by GPT-2's Conv1D and by embeddings.
    """

    layer: str
    a: Tensor | None = None
    b: Tensor | None = None
    scale: float = 1.0
    magnitude: Tensor | None = None
    transposed: bool = False
    replacement: Tensor | None = None

    def shape(self) -> tuple[int, ...]:
        """The shape of the weight that this changes."""
        if self.a is None or self.b is None:
            assert self.replacement is not None  # one of the two kinds
            return tuple(self.replacement.shape)
        out, inside = self.b.shape[0], self.a.shape[1]
        return (inside, out) if self.transposed else (out, inside)


def scaling(alpha: float, rank: int, rslora: bool) -> float:
    """The factor in front of B·A: alpha / r, with rank-stabilised LoRA alpha / √r (Kalajdzievski, arXiv 2312.03732)."""
    return alpha / (sqrt(rank) if rslora else rank)


def difference(weight: Tensor, update: Update) -> Tensor:
    """Δ in fp32 on the weight's device, such that weight + Δ is the merged weight.

    LoRA: Δ = s·B·A. DoRA (Liu et al., arXiv 2402.09353): W′ = m · (W + s·B·A) / ‖W + s·B·A‖, the norm of each row, Δ = W′ − W.
    """
    if update.replacement is not None:
        replaced = update.replacement.to(weight.device, torch.float32)
        own = difference(replaced, replace(update, replacement=None)) if update.a is not None else 0.0
        return replaced - weight.float() + own
    assert update.a is not None and update.b is not None  # one of the two kinds
    a, b = (factor.to(weight.device, torch.float32) for factor in (update.a, update.b))
    delta = (b @ a).mul_(update.scale)
    if update.magnitude is not None:
        weight = weight.float()
        rows = (weight.T if update.transposed else weight) + delta
        norms = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        magnitude = update.magnitude.to(weight.device, torch.float32).reshape(-1, 1)
        delta = magnitude / norms * rows - (weight.T if update.transposed else weight)
    return delta.T if update.transposed else delta


@dataclass(frozen=True)
class Survival:
    """How much of the update of one tensor a format keeps; sums in double precision.

    `kept` is ⟨Q(W+Δ) − Q(W), Δ⟩, `squared` ‖Δ‖², `weight_squared` ‖W‖², `moved_squared` ‖Q(W+Δ) − Q(W)‖²; `changed` values of
    `values` differ from Q(W).
    """

    name: str
    kept: float
    squared: float
    weight_squared: float
    moved_squared: float
    changed: int
    values: int

    @property
    def share(self) -> float | None:
        """The share of the update that survives, see `survival`; None of an update that is zero."""
        return self.kept / self.squared if self.squared else None

    @property
    def relative_size(self) -> float | None:
        """‖Δ‖ / ‖W‖; None of a weight that is zero."""
        return sqrt(self.squared / self.weight_squared) if self.weight_squared else None


def survival(name: str, weight: Tensor, delta: Tensor, written: Tensor, before: Tensor | None = None) -> Survival:
    """How much of an update Δ survives in the format Q of `written` = Q(W + Δ).

        share = ⟨Q(W + Δ) − Q(W), Δ⟩ / ‖Δ‖²

    that is the length of what was written along the update, as a part of the update's own: 1 where all of it arrives, 0 where
    rounding swallows it, 0.5 where half of it does. A count of the values that did not move misleads: those that do move
    move by a whole step of the format, which makes up for part of the others. Over several tensors numerator and denominator
    are summed before they are divided. `before` is Q(W) where the format is no type of torch's; both are then given as values.
    """
    before = weight.to(written.dtype) if before is None else before
    flat = [tensor.reshape(-1) for tensor in (weight, delta, written, before)]
    step = PIECE_VALUES if weight.device.type == "cpu" else weight.numel()
    pieces = zip(*(tensor.split(max(1, step)) for tensor in flat), strict=True)
    with one_thread():
        return survival_of(name, (survival_sums(*piece) for piece in pieces), weight.numel())


def survival_sums(weight: Tensor, delta: Tensor, written: Tensor, before: Tensor) -> Tensor:
    """The sums of a tensor's `Survival` over a piece of it: of W, Δ, Q(W + Δ) and Q(W), all of one shape and on one device.

    A piece that stays in a processor's cache takes a fifth of the time.
    """
    w, d, moved = (one.reshape(-1).double() for one in (weight, delta, written))
    moved = moved - before.reshape(-1).double()
    products = [torch.dot(moved, d), torch.dot(d, d), torch.dot(w, w), torch.dot(moved, moved)]
    return torch.stack([*products, _moved(moved).double()])


def survival_of(name: str, pieces: Iterable[Tensor], values: int) -> Survival:
    """That of a tensor of so many values, from the sums of its pieces, in their order."""
    sums = list(pieces)
    kept, squared, weight_squared, moved_squared, changed = torch.stack(sums).sum(0).tolist() if sums else [0.0] * 5
    return Survival(name, kept, squared, weight_squared, moved_squared, round(changed), values)


def _moved(by: Tensor) -> Tensor:
    """How many values are not zero; numpy compares in a quarter of torch's time on a CPU."""
    return torch.tensor(np.count_nonzero(by.numpy() != 0)) if by.device.type == "cpu" else torch.count_nonzero(by)


def alignment(tensors: Sequence[Survival]) -> float:
    """The cosine of what was written, Q(W+Δ) − Q(W), to the update Δ: 1 where they are alike, near 0 where rounding buries Δ.

    Of a weak update few values move, by a whole step each: their sum may be as long along Δ as Δ itself, and is mostly noise.
    """
    squares = sum(one.squared for one in tensors) * sum(one.moved_squared for one in tensors)
    return sum(one.kept for one in tensors) / sqrt(squares) if squares else 0.0


def survival_document(tensors: Sequence[Survival], dtype: str) -> dict[str, Any]:
    """How much of the update survives in the format written, over all and by tensor; see `survival`."""
    squared = sum(one.squared for one in tensors)
    updated = [one for one in tensors if one.share is not None]
    worst = min(updated, key=lambda one: one.share or 0.0)
    return {
        "dtype": dtype,
        "share": sum(one.kept for one in tensors) / squared,
        "cosine": alignment(tensors),
        "worst": {"tensor": worst.name, "share": worst.share},
        "updated": len(updated),
        "unchanged": sum(1 for one in tensors if not one.changed),
        "tensors": [
            {
                "name": one.name,
                "share": one.share,
                "relative_size": one.relative_size,
                "changed": one.changed / one.values,
            }
            for one in tensors
        ],
    }
