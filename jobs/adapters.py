"""Loads a LoRA adapter onto a base model that it belongs to, or refuses it: PEFT leaves what does not match as it is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import InputError
from core.files import read_json
from core.models.adapters import ADAPTER_WEIGHTS, check_adapter
from core.models.report import named

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from jobs.models import BaseModel

PREFIX = "base_model.model."
FACTORS = (
    ".lora_A.weight",
    ".lora_B.weight",
    ".lora_embedding_A",
    ".lora_embedding_B",
    ".lora_magnitude_vector",
    ".lora_magnitude_vector.weight",
)
ITS_BASE = "name the base model it was trained on"


def load_adapter(model: PreTrainedModel, folder: Path, name: str = "default") -> PeftModel:
    """The model with an adapter on top, in evaluation mode. InputError when the adapter does not belong to it or is damaged."""
    from peft import PeftModel
    from safetensors.torch import load_file

    config, _ = check_adapter(folder)
    tensors = load_file(folder / ADAPTER_WEIGHTS)
    refuse_damaged(config, tensors, folder)
    require_layers(tensors, dict(model.named_modules()), folder)
    try:
        adapted = PeftModel.from_pretrained(model, str(folder), adapter_name=name).eval()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        if len(lines) > 1:
            print(error, flush=True)
        raise InputError(
            f"the adapter cannot be read: {lines[0]}",
            code="bad_adapter",
            file=folder,
            remedy="the log has the details" if len(lines) > 1 else None,
        ) from error
    _require_same_names(adapted, {key for key in tensors if ".base_layer." not in key}, folder, name)
    return adapted


def layer_of(key: str) -> str | None:
    """The layer that a tensor of an adapter file changes, as the base model calls it; None for one that replaces a tensor."""
    ending = next((ending for ending in FACTORS if key.endswith(ending)), None)
    return None if ending is None else key.removesuffix(ending).removeprefix(PREFIX)


def refuse_damaged(config: dict[str, Any], tensors: dict[str, Any], folder: Path) -> None:
    """Refuse an adapter whose values are not finite, or one that changes nothing since each second factor is zero."""
    import torch

    bad = [name for name, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if bad:
        raise InputError(
            f"the adapter is damaged: NaN or infinite values in {len(bad)} of {len(tensors)} tensors, {named(bad)}",
            code="damaged_adapter",
            file=folder,
            remedy="train it again with a lower lr, or take an earlier checkpoint",
        )
    plain = not config.get("use_dora") and not config.get("modules_to_save")
    second = [tensor for name, tensor in tensors.items() if ".lora_B" in name or ".lora_embedding_B" in name]
    if plain and all(layer_of(name) for name in tensors) and not any(bool(tensor.any()) for tensor in second):
        raise InputError(
            "the adapter changes nothing: its second factors (lora_B) are all zero",
            code="empty_adapter",
            file=folder,
            remedy="it was saved before its first step: take one that was trained",
        )


def require_layers(tensors: dict[str, Any], modules: dict[str, Any], folder: Path) -> None:
    """Refuse an adapter with factors for layers that the model does not have, or that have other sizes there."""
    layers = {key: layer for key in tensors if (layer := layer_of(key)) is not None}
    absent = sorted({layer for layer in layers.values() if layer not in modules})
    if absent:
        raise InputError(
            f"the adapter does not belong to this model: {len(absent)} of its {len(set(layers.values()))} layers are not "
            f"in it, {named(absent)}",
            code="other_base",
            file=folder,
            remedy=ITS_BASE,
        )
    for key, layer in layers.items():
        inside, outside = getattr(modules[layer], "in_features", None), getattr(modules[layer], "out_features", None)
        shape = tuple(tensors[key].shape)
        found, wanted = (shape[1], inside) if key.endswith(".lora_A.weight") else (shape[0], outside)
        if len(shape) == 2 and wanted is not None and key.endswith(".weight") and found != wanted:
            raise InputError(
                f"the adapter does not belong to this model: {layer} has {wanted} features there, {found} in the adapter",
                code="other_base",
                file=folder,
                remedy=ITS_BASE,
            )


def require_same_base(adapter: Path, base: BaseModel) -> None:
    """InputError when the adapter's lineage names other base weights; an adapter without lineage is taken as it is."""
    lineage = read_json(adapter.parent / "lineage.json")
    trained_on = lineage.get("base_fingerprint") if isinstance(lineage, dict) else None
    if trained_on is not None and trained_on != base.fingerprint:
        raise InputError(
            f"the adapter was trained on other weights than those of {base.name}",
            code="other_base",
            file=adapter,
            remedy=ITS_BASE,
        )


def _require_same_names(adapted: PeftModel, found: set[str], folder: Path, name: str) -> None:
    """InputError when the file and the adapter that PEFT made of it differ in names: PEFT warns of that at most."""
    from peft import get_peft_model_state_dict

    wanted = set(get_peft_model_state_dict(adapted, adapter_name=name, save_embedding_layers=False))
    wanted = {key for key in wanted if ".base_layer." not in key}
    missing, strange = wanted - found, found - wanted
    if missing or strange:
        parts = []
        if missing:
            parts.append(f"{len(missing)} tensors are missing, {named(missing)}")
        if strange:
            parts.append(f"{len(strange)} match nothing, {named(strange)}")
        raise InputError(
            f"the adapter does not belong to this model: {'; '.join(parts)}",
            code="bad_adapter",
            file=folder,
            remedy=ITS_BASE,
        )
