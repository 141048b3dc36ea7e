"""The longest example that an audit counted is what a forecast is made for; nothing is known of anything else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.config.project import shipped
from core.config.recipe import Recipe
from core.data.audit import LengthRow
from core.home import Home
from core.submission.known_lengths import longest_known, note_lengths
from core.submission.memory_check import plan_training
from core.vram.budget import budget_for
from core.vram.calibration import uncalibrated
from core.vram.forecast import at_longest, forecast
from tests.tui.test_audit_frame import audit as an_audit

SHA = "ab" * 32


def rows(*pairs: tuple[int, int]) -> tuple[LengthRow, ...]:
    return tuple(LengthRow(length, 10, 0, 0, 0.5, 0, 0, longest=longest) for length, longest in pairs)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home").create()
    home.cache.mkdir(parents=True, exist_ok=True)
    return home


def known(home: Home, **other: Any) -> int | None:
    asked = {
        "tokenizer": ["t"],
        "data_sha256": SHA,
        "task": shipped().task("judge"),
        "model": shipped().model("Qwen3-4B"),
        "recipe": shipped().recipe("lora-bf16"),
        **other,
    }
    return longest_known(home, **asked)


def note(home: Home, recipe: Recipe, tokens_max: int, *pairs: tuple[int, int]) -> None:
    audit = an_audit(rows=rows(*pairs), tokens_max=tokens_max)
    note_lengths(home, ["t"], SHA, shipped().task("judge"), shipped().model("Qwen3-4B"), recipe, audit)


def test_what_was_counted_is_known_for_just_that_data_model_and_recipe(home: Home) -> None:
    recipe = shipped().recipe("lora-bf16").model_copy(update={"max_length": 2048})
    assert known(home, recipe=recipe) is None
    note(home, recipe, 634, (512, 512), (2048, 634))
    assert known(home, recipe=recipe) == 634
    assert known(home, recipe=recipe.model_copy(update={"max_length": 4096})) == 634
    assert known(home, recipe=recipe.model_copy(update={"max_length": 600})) == 600
    assert known(home, recipe=recipe, data_sha256="cd" * 32) is None
    assert known(home, recipe=recipe, tokenizer=["another"]) is None
    assert known(home, recipe=recipe, model=shipped().model("Qwen3-8B")) is None


def test_with_added_turns_only_a_length_that_was_looked_at_is_known(home: Home) -> None:
    recipe = shipped().recipe("lora-bf16")
    grown = recipe.model_copy(update={"skeletons": 3, "max_length": 1024})
    note(home, grown, 300, (1024, 1010))
    assert known(home, recipe=grown) == 1010, "the turns in front count, too"
    assert known(home, recipe=grown.model_copy(update={"max_length": 2048})) is None


@pytest.mark.parametrize("rubbish", ["", "[]", "{", '{"version": 1, "lengths": [1]}', '{"version": 99}', "\x00"])
def test_a_cache_that_cannot_be_read_is_nothing_known_and_is_written_anew(home: Home, rubbish: str) -> None:
    (home.cache / "lengths.json").write_text(rubbish)
    recipe = shipped().recipe("lora-bf16")
    assert known(home, recipe=recipe) is None
    note(home, recipe, 200, (recipe.max_length, 200))
    assert known(home, recipe=recipe) == 200


@given(longest=st.integers(1, 5000), length=st.integers(16, 8192))
def test_a_forecast_is_for_no_more_than_the_longest_example_and_max_length(longest: int, length: int) -> None:
    recipe = shipped().recipe("lora-bf16").model_copy(update={"max_length": length})
    model, budget, nothing = shipped().model("Qwen3-4B"), budget_for("24"), uncalibrated()
    at = forecast(model, at_longest(recipe, longest), budget, nothing)
    assert at.length == max(16, min(longest, length))
    assert at.allocated_bytes <= forecast(model, recipe, budget, nothing).allocated_bytes
    assert at_longest(recipe, None) == recipe


@pytest.mark.parametrize(("model", "longest"), [("Qwen3-4B", 300), ("Qwen3-8B", 200), ("SmolLM2-135M", 90)])
def test_fit_auto_fits_the_examples_and_leaves_max_length_alone(
    home: Home, model: str, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = budget_for("80")
    monkeypatch.setattr("core.submission.memory_check.this_machine", lambda home: budget)
    recipe = shipped().recipe("lora-bf16").model_copy(update={"fit": "auto", "max_length": 4096})
    planned, whole = (plan_training(home, shipped().model(model), recipe, known) for known in (longest, None))
    assert planned.recipe.max_length == whole.recipe.max_length == 4096
    assert planned.forecast is not None and planned.forecast.length == longest
    assert planned.recipe.batch_size >= whole.recipe.batch_size, "shorter examples: more of them at once"
    assert planned.forecast.fits
