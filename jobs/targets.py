"""Which linear layers an adapter is put on: those of the recipe, or all of the model's own where the recipe means all."""

from __future__ import annotations

import re

from torch import nn

from core.config.recipe import LINEAR_LAYERS, Recipe
from core.models.targets import no_such_layer
from jobs.step.memory_efficient import OTHER_TOWERS

IN_A_BLOCK = re.compile(r"(?:.*\.)?(?:layers|h|blocks)\.\d+\..*")
# Linear layers that choose among experts: an adapter there would change which of them are asked.
ROUTERS = ("gate", "router")


def linear_names(model: nn.Module) -> list[str]:
    """The last parts of the names of all linear layers inside the blocks, in the model's order."""
    names = (
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if (isinstance(module, nn.Linear) or hasattr(module, "W_q"))
        and IN_A_BLOCK.fullmatch(name)
        and not re.fullmatch(OTHER_TOWERS, name)
    )
    return list(dict.fromkeys(name for name in names if name not in ROUTERS))


def targets_for(model: nn.Module, recipe: Recipe) -> list[str]:
    """The recipe's targets. Where they are all the linear layers by their usual names and the model has others, those.

    Phi-3, say, has one layer `qkv_proj` for three. Raises `InputError` for a target that the model has no layer of: PEFT would
    leave it out without a word.
    """
    names = [name for name, _ in model.named_modules()]
    absent = [target for target in recipe.targets if not any(f".{name}".endswith(f".{target}") for name in names)]
    own = linear_names(model)
    if not absent:
        return list(recipe.targets)
    if set(recipe.targets) == set(LINEAR_LAYERS) and own:
        return own
    raise no_such_layer(absent[0], own)
