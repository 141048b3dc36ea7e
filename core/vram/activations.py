"""What a step holds for its tokens: the kept part of a layer, the backward pass of one, and the loss. Bytes.

The sums follow the tensors that the layers of `jobs/step` keep, one by one: a token's values are counted in widths (hidden H,
FFN F, queries q, keys k, rank r) and multiplied by the bytes of a value. `tests/bench/memory.py` holds them against traces.
"""

from __future__ import annotations

from core.config.model import ModelShape
from core.vram.layers import linear_sizes, targeted
from core.vram.step import Step

# A loss over whole logits at its largest, in the backward pass: log-softmax, its gradient and that of the logits, in fp32.
# (With the model's output still held it would be 14; the trainer lets go of it.)
FULL_LOGITS = 12
# The loss without logits: as `LOGIT_BYTES` and `FEWEST_ROWS` of jobs/step/loss.py.
LOGIT_BYTES = 128_000_000
FEWEST_ROWS = 32
# The MLP's product and its gradients are made for so many tokens at a time: `TOKENS_AT_A_TIME` of jobs/step/mlp.py.
MLP_TOKENS = 256
# Tensors of F values among these tokens: the product, its gradient, gate and up, and theirs, less what has been let go.
MLP_TENSORS = 5
# Hidden-sized tensors around the backward pass of the last layer: gradients that come in and go out, the final norm's output,
# and the gradient that the loss has made.
AROUND = 4


def kept(shape: ModelShape, step: Step) -> int:
    """What one layer keeps for its backward pass when it is not computed again, its input included."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    adapters = targeted(shape, step.targets).values()
    ranks = len(adapters) * step.rank
    # Inputs and outputs of both norms; raw and rotated queries and keys, values, attention's output; gate and up; drop(x)·A.
    values = 4 * shape.hidden + 3 * queries + 3 * keys + 2 * shape.ffn + ranks
    count = step.value_bytes * values
    # fp32: what the norms divided by (two of the layer, one for each head), and attention's log of its sums.
    count += 4 * (2 + 2 * shape.heads + shape.kv_heads)
    inputs = sum(width for width, _ in adapters)
    if step.device == "cpu":
        # The CPU's attention knows no groups: keys and values are repeated for every head.
        count += 2 * step.value_bytes * queries
    if step.dropout:
        count += inputs  # the masks, a byte each
    if not step.lean:
        # Autograd's: the activation beside gate and up, the norms' inputs in fp32, and what dropout has left of each input.
        count += step.value_bytes * shape.ffn + 4 * (2 * shape.hidden + queries + keys)
        count += step.value_bytes * inputs if step.dropout else 0
    return step.tokens * count


def recompute(shape: ModelShape, step: Step) -> int:
    """The backward pass of one layer that was computed again; its input is a checkpoint and counted there."""
    again = kept(shape, step) - step.tokens * shape.hidden * step.value_bytes
    around = AROUND * step.tokens * shape.hidden * step.value_bytes
    parts = MLP_TENSORS * min(step.tokens, MLP_TOKENS) * shape.ffn * step.value_bytes
    return again + around + parts + dequantised(shape, step)


def backward(shape: ModelShape, step: Step) -> int:
    """The backward pass of one layer whose activations were kept: gradients alone."""
    parts = MLP_TENSORS * min(step.tokens, MLP_TOKENS) * shape.ffn * step.value_bytes
    return AROUND * step.tokens * shape.hidden * step.value_bytes + parts + dequantised(shape, step)


def dequantised(shape: ModelShape, step: Step) -> int:
    """The largest weight of a layer, made whole for one product; it is unpacked in place, 3 bits in three tensors."""
    if step.method == "lora":
        return 0
    largest = max(inputs * outputs for inputs, outputs in linear_sizes(shape).values())
    return largest * step.value_bytes * (3 if step.bits == 3 else 1)


def loss(shape: ModelShape, step: Step) -> int:
    """The head and the loss behind it, with the final norm's input and output."""
    states = 3 * step.tokens * shape.hidden * step.value_bytes
    if not step.full_logits:
        row = shape.vocabulary * (4 + step.value_bytes)
        rows = min(step.tokens, max(FEWEST_ROWS, LOGIT_BYTES // row))
        return rows * row + states
    head = 2 * shape.vocabulary * shape.hidden if step.fp32_casts and step.dtype == "bf16" else 0
    return FULL_LOGITS * step.tokens * shape.vocabulary + head
