"""An adapter folder of any tool: whether it is whole, and which base model it says it belongs to."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from core.config.model import ModelEntry
from core.errors import InputError
from core.home import expanded
from core.models.folder import ADAPTER_CONFIG, PICKLES, read_object
from core.models.headers import AGAIN, TensorHeader, read_header
from core.models.report import named

ADAPTER_WEIGHTS = "adapter_model.safetensors"
# The factors whose first size is the rank.
RANK_FIRST = re.compile(r"\.lora_A\.(?:\w+\.)?weight$|\.lora_embedding_A(?:\.\w+)?$")
UNLESS_SAID = 8  # PEFT's rank and alpha where adapter_config.json has none


def check_adapter(path: Path) -> tuple[dict[str, Any], dict[str, TensorHeader]]:
    """The configuration and the tensors of an adapter folder. InputError when it is torn or no LoRA; OSError."""
    if not (path / ADAPTER_CONFIG).is_file():
        raise InputError(f"holds no adapter: {ADAPTER_CONFIG} is absent", code="no_adapter", file=path)
    config = read_object(path / ADAPTER_CONFIG)
    kind = config.get("peft_type")
    if kind != "LORA":
        raise InputError(
            f"is an adapter of the kind {kind or 'unknown'}: only LoRA is read here",
            code="bad_adapter",
            file=path / ADAPTER_CONFIG,
            remedy="merge it with the tool that made it, and name the merged model",
        )
    if not (path / ADAPTER_WEIGHTS).is_file():
        pickled = [file.name for pattern in PICKLES for file in path.glob(pattern)]
        only = f", only {named(pickled)}, which could run code" if pickled else ""
        raise InputError(
            f"holds no adapter: {ADAPTER_WEIGHTS} is absent{only}",
            code="unsafe_model" if pickled else "bad_adapter",
            file=path,
            remedy="save it again as safetensors" if pickled else AGAIN,
        )
    tensors = read_header(path / ADAPTER_WEIGHTS)
    lone = [name for name in tensors if (other := _other_factor(name)) is not None and other not in tensors]
    if lone or not any(".lora_A." in name or ".lora_embedding_A" in name for name in tensors):
        what = f"one of two factors is missing of {named(lone)}" if lone else "it has no tensor of a LoRA"
        raise InputError(f"the adapter is not whole: {what}", code="bad_adapter", file=path, remedy=AGAIN)
    _refuse_other_scale(config, tensors, path)
    _refuse_other_magnitudes(config, tensors, path)
    return config, tensors


def _other_factor(name: str) -> str | None:
    """What the other factor of a LoRA is called; None for a tensor that is none."""
    for one, other in (("A", "B"), ("B", "A")):
        swapped = re.sub(rf"\.lora_(embedding_)?{one}(?=\.|$)", rf".lora_\g<1>{other}", name)
        if swapped != name:
            return swapped
    return None


def _refuse_other_magnitudes(config: Mapping[str, Any], tensors: Mapping[str, TensorHeader], path: Path) -> None:
    """Refuse a DoRA without one of its magnitudes, and magnitudes that the configuration knows nothing of: what is computed
    without them, or with them, is not what was trained."""
    layers = {RANK_FIRST.sub("", name) for name in tensors if RANK_FIRST.search(name)}
    with_one = {name.partition(".lora_magnitude_vector")[0] for name in tensors if ".lora_magnitude_vector" in name}
    wrong = layers - with_one if config.get("use_dora") else with_one
    if wrong:
        what = "no magnitude of" if config.get("use_dora") else "magnitudes of a DoRA that `use_dora` does not name, of"
        raise InputError(
            f"the adapter is not whole: {what} {named(sorted(wrong))}",
            code="bad_adapter",
            file=path,
            remedy="configuration and weights are of different adapters: copy both from one folder",
        )


def _refuse_other_scale(config: Mapping[str, Any], tensors: Mapping[str, TensorHeader], path: Path) -> None:
    """Refuse a configuration that gives the factors another rank than they have, or no alpha: the update would be scaled by
    alpha through rank (LoRA, https://arxiv.org/abs/2106.09685, section 4.1), and so by a number that nobody trained with."""
    file = path / ADAPTER_CONFIG
    for key in ("r", "lora_alpha"):
        value = config.get(key, UNLESS_SAID)
        if not isinstance(value, (int, float)) or isinstance(value, bool) or value <= 0:
            raise InputError("must be a number above 0", code="bad_adapter", file=file, key=key, remedy=AGAIN)
    if config.get("target_parameters"):
        return  # the factors of several experts stand in one tensor
    patterns = config.get("rank_pattern") or {}
    ranks = {config.get("r", UNLESS_SAID), *(patterns.values() if isinstance(patterns, dict) else ())}
    other = [name for name, tensor in tensors.items() if RANK_FIRST.search(name) and tensor.shape[0] not in ranks]
    if other:
        raise InputError(
            f"gives the rank {config.get('r', UNLESS_SAID)}, {named(other)} has {tensors[other[0]].shape[0]}",
            code="bad_adapter",
            file=file,
            key="r",
            remedy="configuration and weights are of different adapters: copy both from one folder",
        )


def base_entry(base: str | None, path: Path, models: Iterable[ModelEntry]) -> ModelEntry:
    """The model that an adapter's `base_model_name_or_path` means: an entry by hub name, name or folder, else a local folder.

    Raises `InputError` with the base's name where none of them is that model.
    """
    if base is None:
        raise InputError(
            "the adapter does not say which base model it belongs to",
            code="unknown_base",
            file=path / ADAPTER_CONFIG,
            key="base_model_name_or_path",
            remedy="write the hub name or the folder of its base model there",
        )
    folder = expanded(base)
    for entry in models:
        same_folder = entry.path is not None and folder.is_absolute() and Path(entry.path).resolve() == folder.resolve()
        if base in (entry.hub, entry.name) or same_folder:
            return entry
    if folder.is_absolute() and folder.is_dir():
        return ModelEntry(name=model_name(folder), path=str(folder))
    source = "path" if folder.is_absolute() or base.startswith(".") else "hub"
    raise InputError(
        f"the adapter was trained on {base}, which no entry of models.yaml is",
        code="unknown_base",
        file=path,
        key="base_model_name_or_path",
        remedy=f"add an entry to models.yaml: `{model_name(folder)}: {{{source}: {base}}}`",
    )


def model_name(path: Path) -> str:
    """A name for a model that has none but its place."""
    allowed = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "._-") else "-" for sign in path.name)
    return allowed.strip("-.") or "model"
