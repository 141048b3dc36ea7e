"""The step traced without values takes what it takes with them, multiplies nothing in fp32, and is what the estimate says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from core.config.model import ModelEntry
from core.config.project import shipped
from core.config.recipe import Recipe
from core.vram.estimate import Step, estimate
from core.vram.layers import total_parameters
from tests.bench.gpu import run_steps
from tests.bench.trace import Allocations, configuration, trace

pytestmark = pytest.mark.train

LAYERS = 4


def shallow(name: str) -> ModelEntry:
    """A shipped model with fewer layers: the same widths, a quicker trace."""
    entry = shipped().model(name)
    assert entry.shape is not None
    cut = entry.model_copy(update={"shape": entry.shape.model_copy(update={"layers": LAYERS}), "parameters": None})
    return cut.model_copy(update={"parameters": total_parameters(cut, cut.shape)})


CASES: list[tuple[str, str, dict[str, Any]]] = [
    ("Qwen3-4B", "lora-bf16", {}),
    ("Qwen3-4B", "lora-bf16", {"rank": 128, "lora_dtype": "fp32"}),
    ("Qwen3-4B", "lora-bf16", {"optimizer": "adamw-8bit", "dropout": 0.0}),
    ("Qwen3-4B", "lora-bf16", {"every_n_layers": 2}),
    ("Qwen3-4B", "lora-bf16", {"activation_checkpointing": False, "max_length": 1024}),
    ("Qwen3-1.7B", "lora-bf16", {"batch_size": 4, "max_length": 512}),
    ("Qwen3-8B", "qlora-hqq4", {"hqq": {"bits": 8, "group_size": 64}}),
    ("Qwen2.5-7B", "qlora-hqq4", {"max_length": 1024, "rank": 16}),
    ("Qwen2.5-7B", "lora-bf16", {"targets": ["q_proj", "v_proj"]}),
]
# The same in width: lengths and sizes that take a trace twice as long.
WIDE: list[tuple[str, str, dict[str, Any]]] = [
    ("Qwen3-4B", "lora-bf16", {"max_length": 8192}),
    ("Qwen3-8B", "qlora-hqq4", {}),
    ("Qwen3-8B", "qlora-hqq4", {"hqq": {"bits": 8, "group_size": 64}, "max_length": 4096}),
]


@pytest.mark.parametrize(
    ("name", "recipe", "changes"), [*CASES, *(pytest.param(*case, marks=pytest.mark.soak) for case in WIDE)]
)
def test_the_estimate_is_within_five_percent_of_the_traced_peak(
    name: str, recipe: str, changes: dict[str, Any]
) -> None:
    entry = shallow(name)
    assert entry.shape is not None and entry.family is not None
    chosen = Recipe.model_validate({**shipped().recipe(recipe).model_dump(), **changes})
    found = trace(configuration(entry.family, entry.shape), chosen)
    predicted = estimate(entry, Step.of(chosen)).allocated_bytes
    assert predicted == pytest.approx(found.peak_bytes, rel=0.05), found.peak_bytes / 1e9
    # Forward and gradient of the inputs at least, 2 FLOP each for a weight of a linear layer and a token.
    assert found.fp32_product_flops < 1e-5 * found.product_flops


def test_a_trace_takes_what_the_step_takes_on_real_tensors(tmp_path: Path) -> None:
    entry = shipped().model("Qwen3-1.7B")
    assert entry.shape is not None
    sizes = {"hidden": 256, "ffn": 768, "layers": 3, "heads": 8, "kv_heads": 2, "head_dim": 32, "vocabulary": 4096}
    config = configuration("qwen3", entry.shape.model_copy(update=sizes))
    recipe = shipped().recipe("lora-bf16").model_copy(update={"max_length": 600, "rank": 8})
    traced = trace(config, recipe)
    allocations = Allocations()
    with allocations:
        run_steps(config, recipe, torch.device("cpu"), torch.bfloat16, before_last=allocations.restart)
    assert traced.peak_bytes == pytest.approx(allocations.peak, rel=0.02)
    weights = sizes["layers"] * (256 * 256 * 2 + 2 * 256 * 64 + 3 * 256 * 768)
    assert traced.product_flops > 2 * 2 * (2 * weights * 600)  # two micro-batches, forward and backward
