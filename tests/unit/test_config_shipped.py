"""Every shipped file is valid, and says what the field says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from core.authoring.lint import check_project
from core.config.model import ModelEntry, ModelShape
from core.config.project import shipped
from core.vram.layers import lora_parameters


@pytest.fixture(autouse=True)
def no_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def test_nothing_is_wrong_with_any_shipped_file() -> None:
    assert [str(problem) for problem in check_project(shipped())] == []


def test_the_candidates_the_recipes_and_the_demo_are_there() -> None:
    project = shipped()
    assert project.model_names() == [
        "Qwen3-1.7B",
        "Qwen3-4B",
        "Qwen3-8B",
        "Qwen3-14B",
        "Qwen3.5-9B",
        "Qwen2.5-3B",
        "Qwen2.5-7B",
        "Gemma3-12B",
        "SmolLM2-135M",
        "Gemma-3-270M",
    ]
    assert {"demo", "lora-bf16", "qlora-hqq4"} <= set(project.recipe_names())
    assert "judge" in project.task_names()


def weights(shape: ModelShape, family: str) -> int:
    """Parameters of a decoder: embedding, head, attention, gated MLP, norms, and the family's extras."""
    queries, keys = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    norms = {"gemma3": 4}.get(family, 2) * shape.hidden
    extras = {"qwen2.5": queries + 2 * keys, "qwen3": 2 * shape.head_dim, "gemma3": 2 * shape.head_dim}.get(family, 0)
    attention = 2 * shape.hidden * queries + 2 * shape.hidden * keys + extras
    embedding = shape.vocabulary * shape.hidden * (1 if shape.tied else 2)
    return embedding + shape.layers * (attention + 3 * shape.hidden * shape.ffn + norms) + shape.hidden


@pytest.mark.parametrize("entry", shipped().models(), ids=lambda entry: entry.name)
def test_a_models_parameters_follow_from_its_shape(entry: ModelEntry) -> None:
    assert entry.shape is not None
    assert entry.family is not None
    if entry.family == "qwen3.5":  # three of four of its layers are linear attention, which this formula does not know
        assert entry.parameters == pytest.approx(weights(entry.shape, entry.family), rel=0.1)
    else:
        assert entry.parameters == weights(entry.shape, entry.family)


def test_the_lora_recipe_trains_the_parameters_of_the_run_it_is_taken_from() -> None:
    """As published: 66.1 M for rank 32 on Qwen3-4B, and 43.65 M for rank 16 on Qwen3-8B, of which the shipped rank is twice."""
    project = shipped()
    for recipe, model, published in (("lora-bf16", "Qwen3-4B", 66.1e6), ("qlora-hqq4", "Qwen3-8B", 2 * 43.65e6)):
        shape = project.model(model).shape
        assert shape is not None
        chosen = project.recipe(recipe)
        assert lora_parameters(shape, chosen.targets, chosen.rank) == pytest.approx(published, abs=0.05e6)


@pytest.mark.process
def test_reading_a_project_imports_neither_torch_nor_textual_nor_a_client() -> None:
    code = (
        "import sys; from core.config.project import shipped; shipped().models(); "
        "print([name for name in ('torch', 'transformers', 'textual', 'httpx', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
