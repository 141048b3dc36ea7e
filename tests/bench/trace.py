"""The peak of a training step at full size on a machine without the GPU: the real trainer on tensors without values.

torch's FakeTensorMode runs every operation for its shapes alone; each storage that comes into being is counted until it is let
go, rounded up to 512 bytes as CUDA's allocator does. Attention takes torch's fused kernel for a CPU, which keeps what the
flash kernels of a GPU keep: queries, keys, values, the output and one number a row. What such a trace cannot see: the
workspaces of a GPU's libraries, and what the allocator holds in reserve.
"""

from __future__ import annotations

import tempfile
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from hqq.core.quantize import BaseQuantizeConfig, Quantizer
from peft import get_peft_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from transformers import (
    AutoModelForCausalLM,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen3Config,
    Trainer,
)

from core.config.model import ModelShape
from core.config.recipe import HqqOptions, Recipe
from core.data.render import FittedExample
from jobs.ordering import StepOrder
from jobs.recorder import Recorder
from jobs.step.hqq import HQQLinear, prepare_library
from jobs.trainer import CheckpointingTrainer, adapter_dtype, collate, dataset, settings
from jobs.training import lora_config

ALLOCATOR_BYTES = 512
# The share of completion tokens in an example: what the write-up's data came to, roughly.
COMPLETION_SHARE = 0.3


PRODUCTS = ("mm", "addmm", "addmm_", "bmm", "baddbmm")


@dataclass(frozen=True)
class Traced:
    """`peak_bytes` of the second optimizer step; FLOP of its matrix products, in all and in fp32."""

    peak_bytes: int
    weights_bytes: int
    trainable: int
    fp32_product_flops: int
    product_flops: int


class Allocations(TorchDispatchMode):
    """Counts the bytes of the storages that are alive, and multiplications by dtype."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.bytes = 0
        self.peak = 0
        self.flops: Counter[torch.dtype] = Counter()

    def restart(self) -> None:
        self.peak = 0
        self.flops.clear()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tree_map_only(torch.Tensor, self._count, result)
        if func.overloadpacket.__name__ in PRODUCTS:
            left, right = [item for item in args if isinstance(item, torch.Tensor) and item.dim() >= 2][-2:]
            self.flops[left.dtype] += 2 * left.numel() * right.shape[-1]
        return result

    def _count(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self.alive:
            return
        size = -(-storage.nbytes() // ALLOCATOR_BYTES) * ALLOCATOR_BYTES
        self.alive[key] = size
        self.bytes += size
        weakref.finalize(storage, self._gone, key)
        self.peak = max(self.peak, self.bytes)

    def _gone(self, key: int) -> None:
        self.bytes -= self.alive.pop(key)


def configuration(family: str, shape: ModelShape) -> PretrainedConfig:
    """The transformers configuration of a shape."""
    kinds = {"qwen3": Qwen3Config, "qwen2.5": Qwen2Config}
    extra = {"head_dim": shape.head_dim} if family == "qwen3" else {}
    return kinds[family](
        hidden_size=shape.hidden,
        intermediate_size=shape.ffn,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        vocab_size=shape.vocabulary,
        tie_word_embeddings=shape.tied,
        max_position_embeddings=65536,
        attn_implementation="sdpa",
        **extra,
    )


def trace(config: PretrainedConfig, recipe: Recipe, dtype: torch.dtype = torch.bfloat16) -> Traced:
    """Two optimizer steps of two micro-batches, each example `max_length` tokens long."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, dtype=dtype)
        if recipe.hqq is not None:
            quantise_without_values(model, recipe.hqq, dtype)
        model = get_peft_model(model, lora_config(recipe))
    inputs = collate([dataset([example(recipe)])[0]] * recipe.batch_size)
    with _shapes_only(), tempfile.TemporaryDirectory() as folder:
        allocations = Allocations()
        with FakeTensorMode(allow_non_fake_inputs=True), allocations:
            materialise(model, adapter_dtype(recipe, dtype))
            weights = allocations.bytes
            trainer = make_trainer(model, recipe, dtype, Path(folder))
            trainer.create_optimizer()
            trainer.create_scheduler(2, trainer.optimizer)
            if recipe.activation_checkpointing:
                model.activation_checkpointing_enable(every_n_layers=recipe.every_n_layers)
            for _step in range(2):
                allocations.restart()
                for _micro in range(2):
                    trainer.training_step(model, dict(inputs), torch.tensor(len(inputs["targets"])))
                trainer.accelerator.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
                trainer.optimizer.step()
                model.zero_grad()
    return Traced(
        peak_bytes=allocations.peak,
        weights_bytes=weights,
        trainable=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        fp32_product_flops=allocations.flops[torch.float32],
        product_flops=sum(allocations.flops.values()),
    )


def example(recipe: Recipe) -> FittedExample:
    """An example as long as the recipe allows."""
    completion = round(recipe.max_length * COMPLETION_SHARE)
    return FittedExample((1,) * (recipe.max_length - completion), (2,) * completion, 1)


def make_trainer(
    model: nn.Module, recipe: Recipe, dtype: torch.dtype, folder: Path, device: torch.device | None = None
) -> Any:
    """The trainer of a job, without its files."""
    order = StepOrder([recipe.max_length], recipe.batch_size * recipe.accumulation, recipe.seed)
    values = device is not None
    device = device or torch.device("cpu")
    recorder = Recorder(mock.Mock(), recipe, "", order, device, None)
    return CheckpointingTrainer(
        model=model,
        args=settings(recipe, folder, device, run_name="trace"),
        train_dataset=dataset([example(recipe)]),
        processing_class=PreTrainedTokenizerFast(
            tokenizer_object=Tokenizer(WordLevel({"x": 0}, "x")), pad_token="x", eos_token="x"
        ),
        callbacks=[recorder],
        order=order,
        recorder=recorder,
        dtype=dtype,
        try_out=values,
    )


def quantise_without_values(model: nn.Module, options: HqqOptions, dtype: torch.dtype) -> None:
    """Replace the linear layers of the blocks by quantised ones of the same shape."""
    prepare_library()
    head = model.get_output_embeddings()
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and module is not head:
            parent, _, leaf = name.rpartition(".")
            layer = empty_layer(module.out_features, module.in_features, options, dtype)
            setattr(model.get_submodule(parent), leaf, layer)


def empty_layer(out_features: int, in_features: int, options: HqqOptions, dtype: torch.dtype) -> Any:
    """A layer of that shape without values, for counting bytes: what `quantised` would hold."""
    groups = out_features * in_features // options.group_size
    packing = Quantizer.bit_to_packing[options.bits]
    rows = {"8bit_u8": groups, "4bit_u8": groups // 2, "2bit_u8": groups // 4, "3bit_32": -(-groups // 10)}[packing]
    store = torch.int32 if packing == "3bit_32" else torch.uint8
    layer = HQQLinear(
        None, BaseQuantizeConfig(nbits=options.bits, group_size=options.group_size, axis=1), compute_dtype=dtype
    )
    layer.W_q = torch.nn.Parameter(torch.empty(rows, options.group_size, dtype=store), requires_grad=False)
    layer.meta = {
        "nbits": options.bits,
        "group_size": options.group_size,
        "shape": torch.Size([out_features, in_features]),
        "scale": torch.empty(groups, 1, dtype=dtype),
        "zero": torch.empty(groups, 1, dtype=dtype),
        "axis": 1,
        "packing": packing,
        "view_as_float": False,
        "quant_zero": False,
        "quant_scale": False,
        "compute_dtype": dtype,
    }
    layer.in_features, layer.out_features, layer.device, layer.ready = in_features, out_features, "cpu", True
    return layer


def materialise(model: nn.Module, adapter: torch.dtype) -> None:
    """Replace every tensor of a model on the meta device by one on the (fake) CPU; tied ones stay tied."""
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is None:
                continue
            if id(parameter) not in made:
                kind = adapter if parameter.requires_grad else parameter.dtype
                fresh = torch.empty(parameter.shape, dtype=kind, device="cpu")
                made[id(parameter)] = nn.Parameter(fresh, requires_grad=parameter.requires_grad)
            module._parameters[name] = made[id(parameter)]
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device="cpu")
        if hasattr(module, "W_q"):
            for key in ("scale", "zero"):
                old = module.meta[key]
                module.meta[key] = torch.empty(old.shape, dtype=old.dtype, device="cpu")


@contextmanager
def _shapes_only() -> Iterator[None]:
    """transformers builds a whole attention mask when it is traced, and looks at values where it is not: neither here."""
    from transformers import masking_utils

    with (
        mock.patch.object(masking_utils, "is_tracing", lambda *args, **kwargs: False),
        mock.patch.object(Trainer, "_move_model_to_device", lambda *args, **kwargs: None),
        mock.patch.object(masking_utils, "find_packed_sequence_indices", lambda position_ids: None),
    ):
        yield
