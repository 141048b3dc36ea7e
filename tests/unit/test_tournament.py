"""The arms of a tournament: who fits this memory, in which ways, and why the others are left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args

import pytest

from core.cli.experiment_show import TABLE_NAMES
from core.cli.tournament import WAYS
from core.config.experiment import Weights
from core.config.project import shipped
from core.errors import InputError, NotFoundError
from core.experiments.arms import expand
from core.experiments.tables import TABLES
from core.experiments.tournament import Tournament, WantedTournament, tournament
from core.home import Home
from core.vram.budget import budget_for
from core.vram.calibration import uncalibrated
from core.wording.tournament import left_out_lines
from tests.support.commands import called


def made(tmp_path: Path, vram: str = "16", **wanted: object) -> Tournament:
    asked = WantedTournament(**{"tasks": ("judge",), **wanted})  # type: ignore[arg-type]
    return tournament(Home(tmp_path), shipped(), asked, budget_for(vram), uncalibrated())


def arms(found: Tournament) -> dict[tuple[str, str], int]:
    """The rank of each arm by model and weights."""
    return {(arm.model, arm.weights): arm.recipe.rank for arm in expand(found.experiment, shipped()).arms}


def test_on_16_gb_small_models_fit_in_bf16_and_large_ones_in_4_bits(tmp_path: Path) -> None:
    found = made(tmp_path)
    ranks = arms(found)
    assert ranks["Qwen3-4B", "bf16"] == 32 and ranks["Qwen3-8B", "4-bit"] == 32
    assert ("Qwen3-8B", "bf16") not in ranks and ("Qwen3-14B", "bf16") not in ranks
    out = {(one.model, one.way): one.code for one in found.left_out}
    assert out["Qwen3-8B", "bf16"] == "does_not_fit" and out["Gemma3-12B", "4-bit"] == "not_predicted"
    assert set(out) | set(ranks) == {(name, way) for name in shipped().model_names() for way in ("bf16", "4-bit")}
    said = " ".join(left_out_lines(found.left_out))
    assert "Qwen3-14B, bf16 needs" in said and "Gemma3-12B" in said


def test_where_the_recipes_rank_does_not_fit_the_highest_that_does_is_taken(tmp_path: Path) -> None:
    models = ("Qwen3-8B", "Qwen3-1.7B")
    found = [arms(made(tmp_path, vram=f"{size / 10}GB", models=models)) for size in range(100, 80, -2)]
    ranks = [one.get(("Qwen3-8B", "4-bit"), 0) for one in found]
    assert ranks == sorted(ranks, reverse=True) and ranks[0] == 32 and ranks[-1] == 0
    assert any(4 <= rank < 32 for rank in ranks)
    assert {one["Qwen3-1.7B", "bf16"] for one in found} == {32}


def test_steps_data_and_trials_are_the_same_for_all(tmp_path: Path) -> None:
    found = made(tmp_path, tasks=("judge", "planner"), steps=40)
    experiment = found.experiment
    assert experiment.name == "tournament-judge-planner" and experiment.tasks == ["judge", "planner"]
    assert experiment.hold == {"steps": 40} and experiment.trial.steps == 13
    assert experiment.learning_rates == [1.7e-05, 5e-05, 0.00015] and experiment.seed_list == (0, 1, 2)
    one = made(tmp_path, learning_rates=(1e-4,)).experiment
    assert not one.has_trials and one.hold["lr"] == 1e-4
    # Without a number of steps it is that of the recipe's epochs on the task with the most examples.
    assert made(tmp_path).experiment.hold["steps"] == shipped().recipe("lora-bf16").steps_of(71)


def test_a_model_that_is_named_needs_no_forecast(tmp_path: Path) -> None:
    found = made(tmp_path, models=("Gemma-3-270M", "SmolLM2-135M"), ways=("bf16",))
    assert set(arms(found)) == {("Gemma-3-270M", "bf16"), ("SmolLM2-135M", "bf16")}


def test_nobody_to_compete_with_is_refused_with_all_reasons(tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        made(tmp_path, vram="2", models=("Qwen3-14B", "Qwen3-8B"))
    assert refused.value.code == "too_few_arms" and "Qwen3-14B bf16" in refused.value.message
    with pytest.raises(NotFoundError):
        made(tmp_path, models=("Qwen9-1B",))
    with pytest.raises(InputError) as no_data:
        made(tmp_path, tasks=("spacer",))
    assert no_data.value.code == "no_train_data"


def test_the_experiment_can_be_stored_and_read_again(tmp_path: Path) -> None:
    found = made(tmp_path, keep=2)
    document = json.loads(json.dumps(found.experiment.model_dump(mode="json")))
    again = type(found.experiment).model_validate(document)
    assert expand(again, shipped()) == expand(found.experiment, shipped())
    assert {one["code"] for one in found.about["left_out"]} == {"not_predicted", "does_not_fit"}


def test_an_unknown_task_ends_the_command_with_its_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, problem = called(capsys, ["tournament", "juge", "--dry-run"])
    assert code == 4 and "judge" in problem


def test_choices_that_stand_in_a_command_for_its_help_are_those_that_there_are() -> None:
    assert get_args(Weights) == WAYS
    assert tuple(TABLES) == TABLE_NAMES
