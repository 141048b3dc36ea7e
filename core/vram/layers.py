"""The sizes of a decoder's parts, from its shape: what the memory estimate counts with."""

from __future__ import annotations

from collections.abc import Iterable

from core.config.model import ModelEntry, ModelShape
from core.errors import BakehouseError


class NotPredicted(BakehouseError):  # noqa: N818 - it is an answer, not a fault
    """Nothing is known of this model's memory, or its layers are not modelled: measure first."""

    def __init__(self, why: str, *, remedy: str = "train one step at the length you want: a run says its peak") -> None:
        super().__init__(f"not predicted: {why}", code="not_predicted", remedy=remedy)
        self.why = why


def require_shape(model: ModelEntry) -> ModelShape:
    """The shape of a model whose layers are modelled. Raises `NotPredicted`."""
    shape = model.shape
    if shape is None:
        raise NotPredicted(
            f"the shape of {model.name} is not known",
            remedy="add `shape:` to its entry in models.yaml, or measure: a run says its peak",
        )
    if shape.attention == "linear":
        raise NotPredicted("memory estimation does not support linear attention")
    if shape.attention == "sliding":
        raise NotPredicted("memory estimation does not support sliding-window attention")
    return shape


def linear_sizes(shape: ModelShape) -> dict[str, tuple[int, int]]:
    """(input, output) features of each linear layer in a block, by the name that a recipe's `targets` use."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    return {
        "q_proj": (shape.hidden, queries),
        "k_proj": (shape.hidden, keys),
        "v_proj": (shape.hidden, keys),
        "o_proj": (queries, shape.hidden),
        "gate_proj": (shape.hidden, shape.ffn),
        "up_proj": (shape.hidden, shape.ffn),
        "down_proj": (shape.ffn, shape.hidden),
    }


def targeted(shape: ModelShape, targets: Iterable[str]) -> dict[str, tuple[int, int]]:
    """The sizes of the layers that a recipe's targets name (`q_proj`, or `self_attn.q_proj`). Raises `NotPredicted`."""
    sizes = linear_sizes(shape)
    found = {}
    for target in targets:
        name = target.rsplit(".", 1)[-1]
        if name not in sizes:
            raise NotPredicted(
                f"`{target}` is no layer whose size the shape tells", remedy=f"the layers are {', '.join(sizes)}"
            )
        found[name] = sizes[name]
    return found


def lora_parameters(shape: ModelShape, targets: Iterable[str], rank: int) -> int:
    """Trainable parameters: rank · (in + out) for each target of each layer."""
    sizes = targeted(shape, targets).values()
    return shape.layers * sum(rank * (inputs + outputs) for inputs, outputs in sizes)


def rank_ceiling(model: ModelEntry) -> int:
    """The rank from which on an update of the smallest linear layer has full rank: more would change nothing there."""
    return min(min(sizes) for sizes in linear_sizes(require_shape(model)).values())


def linear_parameters(shape: ModelShape) -> int:
    """Parameters of the blocks' linear layers, without their biases: what a quantised method quantises."""
    return shape.layers * sum(inputs * outputs for inputs, outputs in linear_sizes(shape).values())


def head_parameters(shape: ModelShape) -> int:
    """Parameters of the embedding, and of a head of its own."""
    return shape.vocabulary * shape.hidden * (1 if shape.tied else 2)


def total_parameters(model: ModelEntry, shape: ModelShape) -> int:
    """The entry's own count; without one that of linear layers, embedding, head and two norms a layer."""
    norms = (2 * shape.layers + 1) * shape.hidden
    return model.parameters or linear_parameters(shape) + head_parameters(shape) + norms
