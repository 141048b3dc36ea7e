"""The step on real tensors: random weights in full-size shapes, its peak and its time on the device that is there."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from core.config.project import shipped
from core.config.recipe import Recipe
from jobs.step.hqq import prepare_library, quantised
from jobs.trainer import collate, dataset
from tests.bench.trace import example, make_trainer

if TYPE_CHECKING:
    from tests.bench.memory import Case

STEPS = 3
# Dense bf16 peaks in FLOP/s as their makers state them, by a part of the device's name.
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "RX 9070 XT": 195e12, "RTX 4090": 165e12}


@dataclass(frozen=True)
class Measured:
    """`peak_bytes` allocated, `reserved_bytes` by torch's allocator (0 on a CPU), seconds of one micro-batch."""

    peak_bytes: int
    reserved_bytes: int
    seconds: float
    tokens: int


def measure(
    config: PretrainedConfig, recipe: Recipe, device: torch.device, dtype: torch.dtype = torch.bfloat16
) -> Measured:
    """Some optimizer steps of two micro-batches on random weights; the time is the median's."""
    torch.manual_seed(0)
    with device:
        model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype)
    if recipe.hqq is not None:
        prepare_library()
        head = model.get_output_embeddings()
        for name, module in list(model.named_modules()):
            if isinstance(module, nn.Linear) and module is not head:
                parent, _, leaf = name.rpartition(".")
                layer = quantised(module.weight.data, module.bias, recipe.hqq, dtype, device)
                setattr(model.get_submodule(parent), leaf, layer)
                module.weight = None
    from peft import get_peft_model

    from jobs.training import lora_config

    model = get_peft_model(model, lora_config(recipe))
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(model, recipe, dtype, Path(folder), device)
        trainer.create_optimizer()
        if recipe.activation_checkpointing:
            model.activation_checkpointing_enable(every_n_layers=recipe.every_n_layers)
        inputs = collate([dataset([example(recipe)])[0]] * recipe.batch_size)
        times = []
        for step in range(STEPS):
            if step == 1 and device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            for _micro in range(2):
                began = time.perf_counter()
                trainer.training_step(model, dict(inputs), torch.tensor(len(inputs["targets"])))
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                times.append(time.perf_counter() - began)
            trainer.accelerator.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
            trainer.optimizer.step()
            model.zero_grad()
    peak, reserved = 0, 0
    if device.type == "cuda":
        peak, reserved = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
    return Measured(peak, reserved, sorted(times[2:])[len(times[2:]) // 2], inputs["tokens"])


def main(cases: Sequence[Case]) -> None:
    """Measure the cases on the GPU."""
    from tests.bench.memory import at_length
    from tests.bench.trace import configuration

    device = torch.device("cuda", 0)
    name = torch.cuda.get_device_name(device)
    limit = next((peak for part, peak in PEAKS.items() if part in name), None)
    print(f"measured on {name}")
    for case in cases:
        model = shipped().model(case.model)
        recipe = at_length(shipped().recipe(case.recipe), case.max_length)
        assert model.shape is not None and model.family is not None and model.parameters is not None
        found = measure(configuration(model.family, model.shape), recipe, device)
        # Forward, recomputed forward and the gradient of the inputs: 2 FLOP each for a weight and a token.
        flops = 6 * model.parameters * found.tokens / found.seconds
        share = "" if limit is None else f", {flops / limit:.0%} of the card's bf16 peak"
        print(
            f"{case.model:<10} {case.recipe:<11} {case.max_length:>6}  {found.peak_bytes / 1e9:.2f} GB allocated, "
            f"{found.reserved_bytes / 1e9:.2f} reserved, {found.tokens / found.seconds:,.0f} tok/s{share}",
            flush=True,
        )
        torch.cuda.empty_cache()
