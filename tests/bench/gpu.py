"""The step on real tensors: random weights in full-size shapes, its peak and its time on the device that is there."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from peft import get_peft_model
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from core.config.project import shipped
from core.config.recipe import HqqOptions, Recipe
from jobs.step.hqq import prepare_library, quantised
from jobs.trainer import collate, dataset
from jobs.training import lora_config
from tests.bench.trace import example, make_trainer

if TYPE_CHECKING:
    from tests.bench.memory import Case

STEPS = 3
# Dense bf16 peaks in FLOP/s as their makers state them, by a part of the device's name.
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "RX 9070 XT": 195e12, "RTX 4090": 165e12}


@dataclass(frozen=True)
class Measured:
    """`peak_bytes` allocated and `reserved_bytes` by torch's allocator, seconds and tokens of one micro-batch."""

    peak_bytes: int
    reserved_bytes: int
    seconds: float
    tokens: int


def measure(config: PretrainedConfig, recipe: Recipe, device: torch.device) -> Measured:
    """Some optimizer steps of two micro-batches in bf16 on random weights of a GPU; the time is the median's."""
    times, tokens = run_steps(
        config, recipe, device, torch.bfloat16, before_last=lambda: torch.cuda.reset_peak_memory_stats(device)
    )
    warm = sorted(times[2:])
    peak, reserved = torch.cuda.max_memory_allocated(device), torch.cuda.max_memory_reserved(device)
    return Measured(peak, reserved, warm[len(warm) // 2], tokens)


def run_steps(
    config: PretrainedConfig,
    recipe: Recipe,
    device: torch.device,
    dtype: torch.dtype,
    before_last: Callable[[], None] = lambda: None,
) -> tuple[list[float], int]:
    """(seconds of each micro-batch, tokens in one). `before_last` is called when the last optimizer step begins."""
    torch.manual_seed(0)
    with device:
        model: Any = AutoModelForCausalLM.from_config(config, dtype=dtype)
    if recipe.hqq is not None:
        quantise(model, recipe.hqq, dtype, device)
    model = get_peft_model(model, lora_config(recipe))
    times = []
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(model, recipe, dtype, Path(folder), device)
        trainer.create_optimizer()
        if recipe.activation_checkpointing:
            model.activation_checkpointing_enable(every_n_layers=recipe.every_n_layers)
        inputs = collate([dataset([example(recipe)])[0]] * recipe.batch_size)
        for step in range(STEPS):
            if step == STEPS - 1:
                before_last()
            for _micro in range(2):
                began = time.perf_counter()
                trainer.training_step(model, dict(inputs), torch.tensor(len(inputs["targets"])))
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                times.append(time.perf_counter() - began)
            trainer.accelerator.clip_grad_norm_(model.parameters(), recipe.max_grad_norm)
            trainer.optimizer.step()
            model.zero_grad()
    return times, inputs["tokens"]


def quantise(model: Any, options: HqqOptions, dtype: torch.dtype, device: torch.device) -> None:
    """Quantise the linear layers of the blocks in place."""
    prepare_library()
    head = model.get_output_embeddings()
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Linear) and module is not head:
            parent, _, leaf = name.rpartition(".")
            setattr(
                model.get_submodule(parent), leaf, quantised(module.weight.data, module.bias, options, dtype, device)
            )


def measure_cases(cases: Sequence[Case]) -> None:
    """Print what each case takes on the GPU."""
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
        share = "" if limit is None else f", {flops / limit:.0%} of the GPU's bf16 peak"
        print(
            f"{case.model:<10} {case.recipe:<11} {case.max_length:>6}  {found.peak_bytes / 1e9:.2f} GB allocated, "
            f"{found.reserved_bytes / 1e9:.2f} reserved, {found.tokens / found.seconds:,.0f} tok/s{share}",
            flush=True,
        )
        torch.cuda.empty_cache()
