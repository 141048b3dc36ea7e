"""Which layers of a model a LoRA can be put on, as the headers of its files tell."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from core.config.recipe import LINEAR_LAYERS
from core.errors import InputError
from core.format import listed
from core.models.folder import weight_files
from core.models.headers import read_header
from core.models.report import IN_A_BLOCK, NOT_OF_THE_TEXT


def check_targets(folder: Path, name: str, targets: Sequence[str]) -> None:
    """Refuse a target that no layer of the model is called by. Raises `InputError`.

    All the usual linear layers together stand for whatever the model calls its own.
    """
    if set(targets) == set(LINEAR_LAYERS):
        return
    tensors = {key: tensor for file in weight_files(folder, name) for key, tensor in read_header(file).items()}
    layers = [
        key.removesuffix(".weight")
        for key, tensor in tensors.items()
        if key.endswith(".weight") and len(tensor.shape) == 2 and IN_A_BLOCK.fullmatch(key)
        if not NOT_OF_THE_TEXT.fullmatch(key)
    ]
    if not layers or any(re.search(r"\.experts\.", layer) for layer in layers):
        return  # the library may merge or rename these while it loads
    absent = [target for target in targets if not any(f".{layer}".endswith(f".{target}") for layer in layers)]
    if absent:
        raise no_such_layer(absent[0], list(dict.fromkeys(layer.rpartition(".")[2] for layer in layers)))


def no_such_layer(target: str, own: list[str]) -> InputError:
    """The refusal of a target, with the names that the model has."""
    remedy = f"its linear layers are {listed(own)}" if own else "the names of a model's layers are in its model card"
    return InputError(f"the model has no layer named {target}", code="no_such_layer", key="targets", remedy=remedy)
