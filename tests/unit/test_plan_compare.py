"""`bakehouse plan --compare`: trainings side by side before anything runs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.config.project import shipped
from core.errors import InputError
from core.submission.measured_trainings import MeasuredTraining
from core.submission.plan_comparison import ComparedTraining, compared, pair
from core.vram.budget import budget_for
from core.vram.calibration import uncalibrated
from core.wording.plan_comparison import comparison_notes, comparison_table
from tests.support.commands import called

SIDES = ("Qwen3-4B:lora-bf16", "Qwen3-8B:qlora-hqq4")


def trainings(*measured: MeasuredTraining) -> list[ComparedTraining]:
    pairs = [pair(shipped(), said) for said in SIDES]
    return compared(pairs, budget_for("16"), uncalibrated(), measured)


def measured(model: str, weights: str, parameters: int, seconds: float, rank: int = 32) -> MeasuredTraining:
    """One that took so many seconds an example."""
    return MeasuredTraining("judge", model, weights, rank, parameters, seconds, 5.0, None)


def test_the_time_of_a_step_is_measured_scaled_or_unknown() -> None:
    assert [one.basis for one in trainings()] == ["unknown", "unknown"]
    small, large = trainings(measured("Qwen3-4B", "plain", 4_000_000_000, 2.0))
    recipe = small.row.recipe
    assert small.basis == "measured" and small.seconds_a_step == 2.0 * recipe.batch_size * recipe.accumulation
    own, other = large.parameters, 4_000_000_000
    examples = large.row.recipe.batch_size * large.row.recipe.accumulation
    assert own is not None and large.basis == "scaled"
    assert large.seconds_a_step == pytest.approx(2.0 * own / other * examples)
    said = " ".join(comparison_notes([small, large]))
    assert "factor of about two" in said and "not known" not in said


def test_steps_that_were_measured_on_other_data_are_compared_at_equal_lengths() -> None:
    """A small model on long examples is no slower than a large one on short ones: what is compared is the model."""
    long, short = 2000, 250
    small = replace(measured("Qwen3-4B", "plain", 4_000_000_000, 4e-3 * long), longest_tokens=long)
    large = replace(measured("Qwen3-8B", "4-bit", 8_000_000_000, 8e-3 * short), task="planner", longest_tokens=short)
    for order in ((small, large), (large, small)):
        one, other = trainings(*order)
        examples = [side.row.recipe.batch_size * side.row.recipe.accumulation for side in (one, other)]
        assert one.seconds_a_step is not None and other.seconds_a_step is not None
        ratio = other.seconds_a_step / examples[1] / (one.seconds_a_step / examples[0])
        assert ratio == pytest.approx(2.0)
        assert {one.basis, other.basis} == {"measured", "scaled"}, "the one of other data is scaled"


def test_share_and_peak_follow_from_shape_and_recipe() -> None:
    small, _ = trainings()
    shape = small.row.model.shape
    assert shape is not None and small.parameters and small.trainable and small.row.forecast
    # Qwen3-4B at rank 32 on all seven linear layers: 66 M of 4 B parameters.
    assert small.trainable == pytest.approx(66.06e6, rel=0.01) and 0.015 < (small.trainable_share or 0) < 0.018
    told = small.to_json()
    assert told["peak_bytes"] == small.row.forecast.device_bytes and told["seconds_a_step"] is None


def test_every_line_has_a_cell_for_each_training() -> None:
    table = comparison_table(trainings())
    assert {len(line) for line in table} == {3}
    assert [line[0] for line in table][:4] == ["base", "recipe", "weights", "rank"]


@pytest.mark.parametrize("said", ["Qwen3-4B", ":lora-bf16", "Qwen3-4B:"])
def test_another_form_than_model_and_recipe_is_refused(said: str) -> None:
    with pytest.raises(InputError) as refused:
        pair(shipped(), said)
    assert refused.value.code == "wrong_value" and refused.value.remedy


def test_the_command_prints_both_at_any_width(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BAKEHOUSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("BAKEHOUSE_GPU_SOURCE", "none")
    words = ["plan", "--vram", "16", "--compare", *SIDES]
    code, out, _ = called(capsys, [*words, "--json"])
    told = json.loads(out)
    assert code == 0 and [one["model"] for one in told["trainings"]] == ["Qwen3-4B", "Qwen3-8B"]
    assert [one["rank"] for one in told["trainings"]] == [32, 32] and told["budget"]["kind"] == "gpu"
    for columns in ("120", "40"):
        monkeypatch.setenv("COLUMNS", columns)
        code, out, _ = called(capsys, words)
        assert code == 0 and "Qwen3-8B" in out and "time a step" in out
    code, _, problem = called(capsys, [*words, "--model", "Qwen3-4B"])
    assert code == 2 and "--compare" in problem
    code, _, problem = called(capsys, ["plan", "--vram", "16", "--compare", "Qwen3-4B:lora-bf16", "Qwen3-8B:nosuch"])
    assert code != 0 and "nosuch" in problem
