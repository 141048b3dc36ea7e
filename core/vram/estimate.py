"""The peak of a training step's memory by component, from the model's shape alone. Bytes; nothing is loaded.

    peak = weights + LoRA + gradients + optimizer + copies + checkpoints + kept activations + max(recompute, loss)

The largest moment is either the loss, when all checkpoints are there and the head works, or the backward pass of the last
layer, which is computed again while all checkpoints but its own still wait.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from core.config.model import ModelEntry, ModelShape
from core.config.recipe import Recipe
from core.vram.layers import (
    linear_parameters,
    lora_parameters,
    require_shape,
    targeted,
    total_parameters,
)

Device = Literal["gpu", "cpu"]

# Python, torch and the libraries in a process that trains on a CPU, before the model (resident bytes).
PROCESS_BYTES = 700_000_000
# TRL's fused loss and ours: no logits, only a chunk of them at a time.
LOSS_CHUNK_BYTES = 130_000_000
# A loss over whole logits at its largest, in the backward pass: log-softmax, its gradient and that of the logits, in fp32.
# (With the model's output still held it would be 14; the trainer lets go of it.)
FULL_LOGITS = 12
# One fp32 number for each block of this many values, of each of the two moments.
EIGHT_BIT_BLOCK = 256


@dataclass(frozen=True)
class Step:
    """What of a recipe costs memory.

    `lean` says that the LoRA layers are ours; else PEFT's under autocast, which keeps bf16 copies of fp32 adapters.
    `full_logits` and `fp32_casts` are the settings of the write-up that this planner is checked against: a loss over whole
    logits, and embeddings, head and norms in fp32, which carry the activations along.
    """

    method: Literal["lora", "qlora-hqq"]
    rank: int
    targets: tuple[str, ...]
    max_length: int
    batch_size: int = 1
    lora_dtype: Literal["fp32", "bf16"] = "fp32"
    optimizer: Literal["adamw", "adamw-8bit"] = "adamw"
    dora: bool = False
    dropout: float = 0.0
    activation_checkpointing: bool = True
    every_n_layers: int = 1
    bits: int = 4
    group_size: int = 64
    dtype: Literal["bf16", "fp32"] = "bf16"
    device: Device = "gpu"
    full_logits: bool = False
    fp32_casts: bool = False
    lean: bool = True

    @classmethod
    def of(cls, recipe: Recipe, device: Device = "gpu") -> Step:
        """The step that a recipe describes. `dtype: auto` is bf16 on a GPU and fp32 on a CPU."""
        dtype = ("bf16" if device == "gpu" else "fp32") if recipe.dtype == "auto" else recipe.dtype
        return cls(
            method=recipe.method,
            rank=recipe.rank,
            targets=tuple(recipe.targets),
            max_length=recipe.max_length,
            batch_size=recipe.batch_size,
            lora_dtype=recipe.lora_dtype,
            optimizer=recipe.optimizer,
            dora=recipe.dora,
            dropout=recipe.dropout,
            activation_checkpointing=recipe.activation_checkpointing,
            every_n_layers=recipe.every_n_layers,
            bits=recipe.hqq.bits if recipe.hqq else 4,
            group_size=recipe.hqq.group_size if recipe.hqq else 64,
            dtype=dtype,
            device=device,
        )

    @property
    def tokens(self) -> int:
        """Tokens of a micro-batch whose examples all have the full length."""
        return self.max_length * self.batch_size

    @property
    def value_bytes(self) -> int:
        """Bytes of a number in which the model computes."""
        return 2 if self.dtype == "bf16" else 4


@dataclass(frozen=True)
class Estimate:
    """The parts that are there at the peak, in bytes, in the order in which they come; parts of nothing are left out.

    On a GPU the sum is what torch has allocated (`max_memory_allocated`), on a CPU the process's resident size.
    """

    components: dict[str, int]

    @property
    def allocated_bytes(self) -> int:
        return sum(self.components.values())


def estimate(model: ModelEntry, step: Step) -> Estimate:
    """The peak of a training step. Raises `NotPredicted` for a model whose shape or layers are not known."""
    shape = require_shape(model)
    parameters = lora_parameters(shape, step.targets, step.rank, dora=step.dora)
    lora = parameters * (2 if step.lora_dtype == "bf16" else 4)
    checkpoints, kept = activations(shape, step)
    largest, work = max(("recompute", recompute(shape, step)), ("loss", loss(shape, step)), key=lambda part: part[1])
    components = {
        "process": PROCESS_BYTES if step.device == "cpu" else 0,
        "weights": weights(model, shape, step),
        "lora": lora,
        "gradients": lora,
        "optimizer": optimizer(parameters, step),
        # Autocast keeps what it has cast until the forward pass is over, checkpointing until the backward pass is.
        "copies": 0 if step.lean or step.lora_dtype == step.dtype else 2 * parameters,
        "checkpoints": checkpoints,
        "activations": kept,
        largest: work,
    }
    return Estimate({name: count for name, count in components.items() if count})


def weights(model: ModelEntry, shape: ModelShape, step: Step) -> int:
    """The frozen weights. HQQ quantises the blocks' linear layers: bits, and a scale and a zero of 2 bytes for each group."""
    total, linear = total_parameters(model, shape), linear_parameters(shape)
    size = step.value_bytes
    plain = size * (total - linear)
    if step.fp32_casts:
        plain = 4 * (total - linear)
    if step.method == "lora":
        return size * linear + plain
    # HQQ packs ten 3-bit values into 32 bits; the other widths fill whole bytes.
    packed = 0.4 if step.bits == 3 else step.bits / 8
    return round(linear * (packed + 2 * size / step.group_size)) + plain


def optimizer(parameters: int, step: Step) -> int:
    """Adam's two moments; of bf16 adapters also the low half of their fp32 values."""
    moments = 8 * parameters
    if step.optimizer == "adamw-8bit":
        moments = 2 * parameters + 2 * 4 * math.ceil(parameters / EIGHT_BIT_BLOCK)
    return moments + (2 * parameters if step.lora_dtype == "bf16" else 0)


def activations(shape: ModelShape, step: Step) -> tuple[int, int]:
    """(checkpoints, kept activations): the inputs of the layers that are recomputed, all that the others keep."""
    recomputed = math.ceil(shape.layers / step.every_n_layers) if step.activation_checkpointing else 0
    size = 4 if step.fp32_casts else step.value_bytes
    checkpoints = recomputed * step.tokens * shape.hidden * size
    return checkpoints, (shape.layers - recomputed) * layer_activations(shape, step)


def layer_activations(shape: ModelShape, step: Step) -> int:
    """What one layer keeps for its backward pass."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    numbers = 8 * shape.hidden + 4 * queries + 4 * keys + 4 * shape.ffn
    masks = sum(inputs for inputs, _ in targeted(shape, step.targets).values()) if step.dropout and not step.lean else 0
    return step.tokens * (numbers * step.value_bytes + masks)


def recompute(shape: ModelShape, step: Step) -> int:
    """The backward pass of one layer: what it keeps, and gradients of its widest part."""
    return layer_activations(shape, step) + step.tokens * 3 * shape.ffn * step.value_bytes


def loss(shape: ModelShape, step: Step) -> int:
    """The head and the loss behind it."""
    if not step.full_logits:
        return LOSS_CHUNK_BYTES
    head = 2 * shape.vocabulary * shape.hidden if step.fp32_casts and step.dtype == "bf16" else 0
    return FULL_LOGITS * step.tokens * shape.vocabulary + head
