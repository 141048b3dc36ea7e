"""Loads a base model with its linear layers quantised by HQQ, tensor by tensor: the host never holds more than one of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from accelerate.utils import set_module_tensor_to_device
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedModel

from core.config.recipe import HqqOptions
from core.errors import InputError
from core.home import Home
from core.models.folder import weight_files
from core.models.report import LoadReport, refuse_unless_whole
from jobs.load_report import Warn, require_whole, value_report
from jobs.models import BaseModel, safetensors_folder
from jobs.step.hqq import HQQLinear, prepare_library, quantised
from jobs.step.memory_efficient import OTHER_TOWERS
from jobs.tensor_names import own_name

Progress = Callable[[int, int], None]


def load_quantised(
    base: BaseModel,
    home: Home,
    device: torch.device,
    dtype: torch.dtype,
    options: HqqOptions,
    progress: Progress = lambda done, total: None,
    warn: Warn | None = None,
) -> PreTrainedModel:
    """The model on `device`: linear layers inside the blocks in `options.bits` bits, all else in `dtype`, in evaluation mode.

    `progress` is told bytes read and bytes in all, `warn` what the files hold beside the model. Raises InputError when the
    files do not hold just the model's tensors, when values are damaged, or when a weight does not divide into groups.
    """
    folder = safetensors_folder(base, home)
    require_whole(base.name, folder, warn)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    with init_empty_weights(include_buffers=False):
        model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    model.tie_weights()
    prepare_library()
    wanted = dict(model.named_parameters(remove_duplicate=False))
    linears = quantised_layers(model)
    biases: dict[str, Tensor] = {}
    files = weight_files(folder, base.name)
    damaged = LoadReport()
    done, total = 0, sum(file.stat().st_size for file in files)
    for name, tensor in _tensors(files, wanted):
        done += tensor.numel() * tensor.element_size()
        damaged = damaged.with_values_of(value_report([(name, tensor)]))
        layer, _, kind = name.rpartition(".")
        if layer in linears and kind == "weight":
            _place(model, layer, quantised_layer(tensor, options, dtype, device, layer, folder))
        elif layer in linears and kind == "bias":
            biases[layer] = tensor.to(device, dtype)
        else:
            set_module_tensor_to_device(model, name, device, value=tensor, dtype=dtype)
        progress(done, total)
    for layer, bias in biases.items():
        model.get_submodule(layer).bias = bias
    model.tie_weights()
    refuse_unless_whole(damaged, base.name, folder)
    missing = sorted(name for name, parameter in model.named_parameters() if parameter.is_meta)
    if missing:
        raise InputError(
            f"the weights of {base.name} lack {len(missing)} tensors, {missing[0]} among them",
            code="bad_model",
            file=folder,
            remedy="train it with method: lora, which reads the files in transformers' own way",
        )
    if (folder / "generation_config.json").is_file():
        model.generation_config = GenerationConfig.from_pretrained(folder)
    for buffer_name, buffer in list(model.named_buffers()):
        set_module_tensor_to_device(model, buffer_name, device, value=buffer)
    # PEFT looks for this mark before it casts embeddings, head and norms of an unmarked model to fp32.
    model.hqq_quantized = True
    loaded: PreTrainedModel = model.eval()
    return loaded


def quantised_layers(model: Any) -> set[str]:
    """The names of the layers that are quantised for training: the linear ones inside the blocks of the text model."""
    head = model.get_output_embeddings()
    return {
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and not re.fullmatch(OTHER_TOWERS, name)
    }


def _tensors(files: list[Path], wanted: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """(parameter name, its values) for each tensor of the files that the model has; the others are passed over."""
    for file in files:
        with safe_open(file, framework="pt") as opened:
            for key in opened.keys():  # noqa: SIM118 - it is no mapping
                name = own_name(key, wanted)
                if name is not None:
                    yield name, opened.get_tensor(key)


def quantised_layer(
    weight: Tensor, options: HqqOptions, dtype: torch.dtype, device: torch.device, layer: str, folder: Path
) -> HQQLinear:
    """A layer of a model in `folder` as a training holds it. InputError when its weight does not divide into groups."""
    try:
        module: HQQLinear = quantised(weight, None, options, dtype, device)
    except ValueError as error:
        raise InputError(
            f"{layer} cannot be quantised: {error}",
            code="not_quantisable",
            file=folder,
            key="hqq.group_size",
            remedy="take a smaller group_size",
        ) from error
    return module


@dataclass(frozen=True)
class SeenWeights:
    """What a training on quantised weights saw of its base: linear layers of `options`, made whole again in `dtype`."""

    options: HqqOptions
    dtype: torch.dtype

    def of(self, model: Any, device: torch.device, folder: Path) -> Callable[[str, Tensor], Tensor]:
        """From a parameter's name and its value in `folder` to the value that training saw. InputError as `quantised_layer`."""
        layers = quantised_layers(model)
        prepare_library()

        def seen(parameter: str, weight: Tensor) -> Tensor:
            layer, _, kind = parameter.rpartition(".")
            if kind != "weight" or layer not in layers:
                return weight
            return quantised_layer(weight, self.options, self.dtype, device, layer, folder).dequantize()

        return seen


def _place(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(parent), leaf, module)
