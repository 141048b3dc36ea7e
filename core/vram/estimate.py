"""The peak of a training step's memory by component, from the model's shape alone. Bytes; nothing is loaded.

    peak = weights + LoRA + gradients + optimizer + copies + checkpoints + kept activations + the largest moment

The largest moment is either the loss, when everything that the layers keep is there and the head works, or the backward pass of
a layer, the last of those that are computed again, while what the layers below it keep still waits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from core.config.model import ModelEntry, ModelShape
from core.vram.activations import backward, kept, loss, recompute
from core.vram.layers import NotPredicted, linear_parameters, lora_parameters, require_shape, total_parameters
from core.vram.step import Device, Step

__all__ = ["Device", "Estimate", "Step", "estimate"]

# A process that trains on a CPU: Python, torch and the libraries before the model (0.66 GB resident), and what glibc is told to
# keep on top of its heap. Freed tensors leave gaps there that later ones do not fill. Held against nine trainings of SmolLM2
# in fp32, of 256 to 4136 tokens at a time, with activations kept and recomputed: the peak is 0.8 to 1.25 of the estimate.
PROCESS_BYTES = 1_000_000_000
HEAP_GAPS = 0.25
# One fp32 number for each block of this many values, of each of the two moments.
EIGHT_BIT_BLOCK = 256


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
    """The peak of a training step. Raises `NotPredicted` for a model whose shape is not known and for layers not modelled."""
    shape = require_shape(model)
    if step.dora:
        raise NotPredicted("DoRA computes with PEFT's own layers, which make whole weights on the way")
    parameters = lora_parameters(shape, step.targets, step.rank)
    lora = parameters * (2 if step.lora_dtype == "bf16" else 4)
    checkpoints, activations = stored(shape, step)
    name, moment = largest(shape, step)
    components = {
        "process": PROCESS_BYTES if step.device == "cpu" else 0,
        "weights": weights(model, shape, step),
        "lora": lora,
        "gradients": lora,
        "optimizer": optimizer(parameters, step),
        # Autocast keeps what it has cast until the forward pass is over, checkpointing until the backward pass is.
        "copies": 0 if step.lean or step.lora_dtype == step.dtype else 2 * parameters,
        "checkpoints": checkpoints,
        "activations": activations,
        name: moment,
        "gaps": round(HEAP_GAPS * (checkpoints + activations + moment)) if step.device == "cpu" else 0,
    }
    return Estimate({part: count for part, count in components.items() if count})


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


def stored(shape: ModelShape, step: Step) -> tuple[int, int]:
    """(checkpoints, activations): the inputs of the layers that are computed again, and all that the others keep."""
    again = layers_again(shape, step)
    size = 4 if step.fp32_casts else step.value_bytes
    return again * step.tokens * shape.hidden * size, (shape.layers - again) * kept(shape, step)


def layers_again(shape: ModelShape, step: Step) -> int:
    """How many layers are computed again: the first of every n (transformers' `every_n_layers`)."""
    return math.ceil(shape.layers / step.every_n_layers) if step.activation_checkpointing else 0


def largest(shape: ModelShape, step: Step) -> tuple[str, int]:
    """(component, bytes) of the moment that takes most beside what is stored."""
    moments = {"loss": loss(shape, step), "backward": backward(shape, step)}
    if again := layers_again(shape, step):
        # The layers behind the last of these are done by then, and what they kept is gone.
        behind = shape.layers - 1 - (again - 1) * step.every_n_layers
        moments["recompute"] = recompute(shape, step) - behind * kept(shape, step)
    name = max(moments, key=lambda moment: moments[moment])
    return name, moments[name]
