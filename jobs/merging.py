"""Merges a LoRA adapter into a base model's files, tensor by tensor: read, updated in fp32, written in the chosen format.

No model is built and nothing is rounded before the end. Tensors that the adapter leaves alone are copied in the format, and
files keep their names and their tensors' names.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft.utils.other import get_pattern_key
from safetensors.torch import load_file
from torch import Tensor, nn

from core.errors import InputError
from core.files import write_json
from core.models.adapters import ADAPTER_WEIGHTS, check_adapter
from core.models.folder import CONFIG, INDEX, SINGLE, read_object, weight_files
from core.models.headers import read_header
from core.models.report import named, refuse_unless_whole
from jobs.adapters import ITS_BASE, PREFIX, layer_of, refuse_damaged, require_layers
from jobs.load_report import CHECKED, Warn, all_finite, require_whole, value_report
from jobs.merge_math import Survival, Update, difference, scaling, survival
from jobs.safetensors_reader import read_tensor
from jobs.safetensors_writer import TYPES, SafetensorsWriter
from jobs.tensor_names import own_name

if TYPE_CHECKING:
    from jobs.quantised import SeenWeights

# What stands beside the weights and is no part of the tokenizer, which writes its files itself.
KEPT_FILES = (
    "generation_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "video_preprocessor_config.json",
)
# Initialisations after which the base's own weights are changed too: base and adapter alone do not make the trained model.
CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
# Options of PEFT that are more than W + s·B·A.
NOT_MERGED = (
    "layer_replication",
    "target_parameters",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "arrow_config",
    "velora_config",
)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Merged:
    """What a merge did: how much survived of each updated tensor, in the order of the files."""

    tensors: tuple[Survival, ...]
    untied: bool = False
    """The output head, which shared the embedding's weights, has weights of its own now."""


def merge_into(
    place: Path,
    base: Path,
    name: str,
    adapter: Path,
    dtype: torch.dtype,
    device: torch.device,
    progress: Progress = lambda done, total: None,
    warn: Warn | None = None,
    seen: SeenWeights | None = None,
) -> Merged:
    """Write the model of the folder `base` with the adapter merged into it to the folder `place`, in `dtype`.

    With `seen` the base's linear layers are first quantised and made whole again, as the adapter's training saw them: then the
    merged model computes what was trained, and what quantisation cost the base stays in it. `progress` is told bytes done and
    bytes in all. Raises `InputError` for a base that is not whole, an adapter that does not belong to it or is no plain LoRA or
    DoRA, and where no tensor changed.
    """
    model = require_whole(name, base, warn)
    updates = read_updates(adapter, model)
    config = read_object(base / CONFIG)
    updates, untied = untie(model, updates, adapter)
    files = weight_files(base, name)
    places = {own_name(key, parameters_of(model)): key for file in files for key in read_header(file)}
    lost = sorted(key for key in updates if key not in places and key != untied)
    if lost:
        raise InputError(
            f"the adapter changes weights that {name} has under no name of their own: {named(lost)}",
            code="other_base",
            file=adapter,
            remedy="merge it with the tool that made it",
        )
    writer = _Writing(place, base, name, dtype, device, updates, None if untied in places else untied, model, seen)
    found = writer.write(files, progress)
    if not any(one.changed for one in found):
        raise InputError(
            f"no tensor of {name} changed: the update is too small for this format, or zero",
            code="nothing_changed",
            file=adapter,
            remedy="export with --dtype fp32, or train the adapter further",
        )
    for kept in KEPT_FILES:
        if (base / kept).is_file():
            shutil.copyfile(base / kept, place / kept)
    write_json(place / CONFIG, _config_of(config, dtype, untied))
    return Merged(tuple(found), untied is not None)


def read_updates(adapter: Path, model: nn.Module) -> dict[str, Update]:
    """What an adapter does, by the name of the model's parameter. InputError when it does not belong to the model."""
    config, _ = check_adapter(adapter)
    _refuse_other_kinds(config, adapter)
    tensors = load_file(adapter / ADAPTER_WEIGHTS)
    refuse_damaged(config, tensors, adapter)
    modules = dict(model.named_modules())
    require_layers(tensors, modules, adapter)
    updates: dict[str, Update] = {}
    for key, tensor in tensors.items():
        if layer_of(key) is None:
            # PEFT keeps a copy of the head or embedding that a LoRA stands on, as it was trained with.
            parameter = key.removeprefix(PREFIX).replace(".base_layer.", ".")
            updates[parameter] = Update(parameter, replacement=tensor)
    for key in tensors:
        layer = layer_of(key)
        if layer is not None and (".lora_A" in key or ".lora_embedding_A" in key):
            start = updates.get(f"{layer}.weight")
            update = _lora(layer, key, tensors, config, modules[layer])
            updates[f"{layer}.weight"] = update if start is None else replace(update, replacement=start.replacement)
    shapes = {parameter: tuple(value.shape) for parameter, value in parameters_of(model).items()}
    for parameter, update in updates.items():
        if shapes.get(parameter) != update.shape():
            raise InputError(
                f"the adapter does not belong to this model: {parameter} is {shapes.get(parameter, 'not in it')}, in the "
                f"adapter {update.shape()}",
                code="other_base",
                file=adapter,
                remedy=ITS_BASE,
            )
    return updates


def parameters_of(model: nn.Module) -> dict[str, Any]:
    return dict(model.named_parameters(remove_duplicate=False))


def _lora(layer: str, key: str, tensors: Mapping[str, Tensor], config: Mapping[str, Any], module: nn.Module) -> Update:
    a, b = tensors[key], tensors[key.replace("lora_A", "lora_B").replace("lora_embedding_A", "lora_embedding_B")]
    alphas: dict[str, float] = config.get("alpha_pattern") or {}
    alpha = alphas.get(get_pattern_key(list(alphas), layer), float(config.get("lora_alpha", 8)))
    start = f"{PREFIX}{layer}.lora_magnitude_vector"
    magnitude = tensors.get(start, tensors.get(f"{start}.weight"))
    transposed = type(module).__name__ == "Conv1D" or ".lora_embedding_A" in key
    scale = scaling(alpha, a.shape[0], bool(config.get("use_rslora")))
    return Update(layer, a, b, scale, magnitude, transposed)


def _refuse_other_kinds(config: Mapping[str, Any], adapter: Path) -> None:
    start = config.get("init_lora_weights")
    words = [key for key in NOT_MERGED if config.get(key)]
    if isinstance(start, str) and start.lower().startswith(CHANGES_BASE):
        words.append(f"init_lora_weights: {start}")
    if words:
        raise InputError(
            f"the adapter is more than a LoRA on its base ({named(words)}): it cannot be merged here",
            code="bad_adapter",
            file=adapter,
            remedy="convert it to a plain LoRA with PEFT, or merge it with the tool that made it",
        )


def untie(model: Any, updates: dict[str, Update], adapter: Path) -> tuple[dict[str, Update], str | None]:
    """The updates, and the head's name where head and embedding shared their weights and part now.

    A head or embedding that is changed alone would change the other as well, when both are one tensor. `ensure_weight_tying`
    of PEFT says that they stay one.
    """
    named_of = {module: name for name, module in model.named_modules()}
    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if head is None or embedding is None or head.weight is not embedding.weight:
        return updates, None
    head_name, embedding_name = f"{named_of[head]}.weight", f"{named_of[embedding]}.weight"
    if head_name not in updates and embedding_name not in updates:
        return updates, None
    if read_object(adapter / "adapter_config.json").get("ensure_weight_tying"):
        chosen = updates.get(embedding_name) or updates[head_name]
        rest = {key: update for key, update in updates.items() if key not in (head_name, embedding_name)}
        return {**rest, embedding_name: chosen}, None
    return updates, head_name


def _config_of(config: dict[str, Any], dtype: torch.dtype, untied: str | None) -> dict[str, Any]:
    """The base's configuration with the type of the weights that were written."""
    name = str(dtype).removeprefix("torch.")
    changed: dict[str, Any] = {key: value for key, value in config.items() if key != "torch_dtype"} | {"dtype": name}
    if untied is not None:
        changed["tie_word_embeddings"] = False
    text = changed.get("text_config")
    if isinstance(text, dict):
        inner = {key: value for key, value in text.items() if key != "torch_dtype"} | {"dtype": name}
        changed["text_config"] = inner | ({"tie_word_embeddings": False} if untied is not None else {})
    return changed


class _Writing:
    """The files of a merged model, one tensor at a time."""

    def __init__(
        self,
        place: Path,
        base: Path,
        name: str,
        dtype: torch.dtype,
        device: torch.device,
        updates: Mapping[str, Update],
        untied: str | None,
        model: Any,
        seen: SeenWeights | None,
    ) -> None:
        self.place, self.base, self.name = place, base, name
        self.seen = None if seen is None else seen.of(model, device, base)
        self.dtype, self.device = dtype, device
        self.updates, self.untied = updates, untied
        self.names = parameters_of(model)
        self.embedding = model.get_input_embeddings()
        self.found: list[Survival] = []

    def write(self, files: list[Path], progress: Progress) -> list[Survival]:
        headers = {file: read_header(file) for file in files}
        done, total = 0, sum(tensor.end - tensor.begin for header in headers.values() for tensor in header.values())
        index: dict[str, str] = {}
        size = 0
        for file in files:
            header = dict(sorted(headers[file].items(), key=lambda item: item[1].begin))
            kinds = {key: (self._kind(TYPES[tensor.dtype]), tensor.shape) for key, tensor in header.items()}
            head_from = self._head_from(header)
            if head_from is not None and self.untied is not None:
                kinds[self.untied] = kinds[head_from]
            with SafetensorsWriter(self.place / file.name, kinds) as writer:
                for key, tensor in header.items():
                    writer.add(key, self._merged(key, read_tensor(file, tensor)))
                    done += tensor.end - tensor.begin
                    progress(done, total)
                if head_from is not None and self.untied is not None:
                    own = read_tensor(file, header[head_from])
                    writer.add(self.untied, self._as(self.untied, self.untied, own))
                size += writer.bytes
            index |= dict.fromkeys(kinds, file.name)
        if files[0].name != SINGLE:
            document = {"metadata": {"total_size": size}, "weight_map": dict(sorted(index.items()))}
            (self.place / INDEX).write_text(json.dumps(document, indent=1) + "\n")
        return self.found

    def _head_from(self, header: Mapping[str, Any]) -> str | None:
        """The tensor of this file that the head shared, where it gets weights of its own."""
        if self.untied is None:
            return None
        of_embedding = {key for key, value in self.names.items() if value is self.embedding.weight} - {self.untied}
        return next((key for key in header if own_name(key, self.names) in of_embedding), None)

    def _kind(self, dtype: torch.dtype) -> torch.dtype:
        return self.dtype if dtype in CHECKED else dtype

    def _merged(self, key: str, tensor: Tensor) -> Tensor:
        refuse_unless_whole(value_report([(key, tensor)]), self.name, self.base)
        return self._as(key, own_name(key, self.names), tensor)

    def _as(self, key: str, parameter: str | None, tensor: Tensor) -> Tensor:
        """A tensor of the base in the format, with its update where it has one."""
        if self.seen is not None and parameter is not None:
            tensor = self.seen(parameter, tensor)
        update = None if parameter is None else self.updates.get(parameter)
        if update is None:
            written = tensor.to(self._kind(tensor.dtype))
            self._refuse_overflow(key, written)
            return written
        weight = tensor.to(self.device)
        delta = difference(weight, update)
        written = (weight.float() + delta).to(self.dtype)
        self._refuse_overflow(key, written)
        self.found.append(survival(key, weight, delta, written))
        return written

    def _refuse_overflow(self, key: str, written: Tensor) -> None:
        if not all_finite(written):
            raise InputError(
                f"{key} has values beyond the range of {str(self.dtype).removeprefix('torch.')} after the merge",
                code="overflow",
                file=self.base,
                remedy="export with --dtype bf16 or fp32",
            )
