"""From what an experiment says to its arms and runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from core.config.experiment import Experiment
from core.config.project import Project, load_project
from core.errors import BakehouseError, InputError, NotFoundError
from core.experiments.arms import Expansion, expand, trial_recipe


def project(folder: Path) -> Project:
    (folder / "configs/experiments").mkdir(parents=True)
    (folder / "bakehouse.yaml").write_text("id: lab\n")
    return load_project(folder)


def written(folder: Path, **said: Any) -> tuple[Project, Experiment]:
    lab = project(folder)
    usual = {"tasks": ["judge"], "recipe": "lora-bf16", "hold": {"epochs": 1}}
    (folder / "configs/experiments/e.yaml").write_text(yaml.safe_dump(usual | said, sort_keys=False))
    return lab, lab.experiment("e")


def expanded(folder: Path, **said: Any) -> Expansion:
    lab, experiment = written(folder, **said)
    return expand(experiment, lab)


def test_combinations_and_further_arms_become_runs_in_blocks_of_seeds(tmp_path: Path) -> None:
    found = expanded(
        tmp_path,
        vary={"model": ["Qwen3-4B"], "weights": ["bf16", "4-bit"], "rank": [8, 32]},
        arms=[{"model": "Qwen3-1.7B", "weights": "bf16", "rank": 32}],
        seeds=2,
    )
    assert [arm.name for arm in found.arms] == [
        "Qwen3-4B bf16 r8",
        "Qwen3-4B bf16 r32",
        "Qwen3-4B 4-bit r8",
        "Qwen3-4B 4-bit r32",
        "Qwen3-1.7B bf16 r32",
    ]
    assert [(run.role, run.seed) for run in found.runs] == [("final", 0)] * 5 + [("final", 1)] * 5
    quantised = found.arms[2]
    assert quantised.recipe.hqq is not None and (quantised.weights, quantised.recipe.hqq.bits) == ("4-bit", 4)
    assert quantised.values == {"model": "Qwen3-4B", "weights": "4-bit", "rank": 8}
    assert {arm.recipe.alpha / arm.recipe.rank for arm in found.arms} == {2.0}, "alpha follows the rank"


def test_learning_rates_and_a_race_are_tried_with_the_first_seed(tmp_path: Path) -> None:
    said = {"vary": {"model": ["Qwen3-4B", "Qwen3-1.7B"]}, "seeds": [7, 3]}
    rated = expanded(tmp_path / "a", **said, learning_rates=[2e-5, 1e-4])
    tried = [(run.arm.model, run.lr, run.seed) for run in rated.runs if run.role == "trial"]
    assert tried == [(model, lr, 7) for model in ("Qwen3-4B", "Qwen3-1.7B") for lr in (2e-5, 1e-4)]
    raced = expanded(tmp_path / "b", **said, race={"keep": 1})
    assert [run.lr for run in raced.runs if run.role == "trial"] == [5e-5, 5e-5]
    plain = expanded(tmp_path / "c", **said)
    assert not any(run.role == "trial" for run in plain.runs)


@pytest.mark.parametrize(("held", "warmup"), [({"steps": 80}, 2), ({"epochs": 3}, 4), ({"steps": 5}, 8)])
def test_the_warm_up_of_a_trial_is_scaled_with_its_steps(tmp_path: Path, held: dict[str, Any], warmup: int) -> None:
    said = {"hold": {"model": "Qwen3-1.7B", "warmup_steps": 8, **held}, "trial": {"steps": 16, "eval_fraction": 0.3}}
    lab, experiment = written(tmp_path, **said, learning_rates=[1e-4, 1e-3])
    tried = trial_recipe(experiment, expand(experiment, lab).arms[0], 1e-3)
    assert (tried.steps, tried.warmup_steps, tried.lr, tried.eval_fraction) == (16, warmup, 1e-3, 0.3)


def test_what_is_measured_as_a_file_is_made_after_each_training(tmp_path: Path) -> None:
    found = expanded(tmp_path, hold={"model": "Qwen3-1.7B"}, measure="Q4_K_M", seeds=1)
    assert [run.role for run in found.runs] == ["final", "merge", "convert", "quantize"]


def test_an_arm_keeps_its_key_while_others_come_and_go(tmp_path: Path) -> None:
    small = expanded(tmp_path / "a", vary={"model": ["Qwen3-4B"], "rank": [8, 16]}, seeds=1)
    large = expanded(tmp_path / "b", vary={"rank": [16, 8, 32], "model": ["Qwen3-1.7B", "Qwen3-4B"]}, seeds=3)
    assert {arm.key for arm in small.arms} < {arm.key for arm in large.arms}
    assert len({arm.key for arm in large.arms}) == 6
    other = expanded(tmp_path / "c", vary={"model": ["Qwen3-4B"], "rank": [8, 16]}, hold={"epochs": 2}, seeds=1)
    assert not {arm.key for arm in small.arms} & {arm.key for arm in other.arms}


@pytest.mark.parametrize(
    ("said", "where", "words"),
    [
        ({"vary": {"model": ["a"], "rnak": [8]}}, "vary.rnak", "unknown key"),
        ({"vary": {"model": ["a"], "lora_r": [8]}}, "vary.lora_r", "unknown key"),
        ({"vary": {"model": ["a"], "rank": [0]}}, "vary.rank[0]", "no value of `rank`"),
        ({"vary": {"model": ["a"], "schedule": ["cosine", "sine"]}}, "vary.schedule[1]", "Must be 'cosine'"),
        ({"vary": {"model": ["a"], "rslora": [True, "no"]}}, "vary.rslora[1]", "Must be true or false"),
        ({"vary": {"model": ["a"], "targets": ["q_proj"]}}, "vary.targets[0]", "Must be a list"),
        ({"vary": {"model": ["a"], "rank": [8, 8]}}, "vary.rank[1]", "twice"),
        ({"vary": {"model": ["a"], "rank": []}}, "vary.rank", "no value"),
        ({"vary": {"model": ["a"], "hqq": [{"bits": 4}]}}, "vary.hqq", "cannot vary"),
        ({"vary": {"model": ["a"], "weights": ["4bit"]}}, "vary.weights[0]", "expected"),
        ({"vary": {"model": ["a"], "epochs": [1, 2]}}, "hold.epochs", "cannot be held"),
        ({"vary": {"rank": [8]}}, None, "names no model"),
        ({"arms": [{"rank": 8}]}, "arms[0]", "names no model"),
        ({"hold": {"model": "a", "lr": 1e-4}, "learning_rates": [1e-4]}, "hold.lr", "chooses"),
        ({"hold": {"model": "a"}, "tasks": ["judge", "judge"]}, "tasks[1]", "twice"),
        ({"hold": {"model": "a"}, "seeds": [1, 1]}, "seeds[1]", "twice"),
        ({"hold": {"model": "a"}, "measure": "Q4"}, "measure", "cannot be measured"),
        ({"vary": {"model": ["a"]}, "arms": [{"model": "a"}]}, "arms[0]", "same as another"),
    ],
)
def test_what_is_wrong_is_told_at_its_place(
    tmp_path: Path, said: dict[str, Any], where: str | None, words: str
) -> None:
    with pytest.raises(InputError, match=words) as raised:
        expanded(tmp_path, **said)
    assert raised.value.key == where and raised.value.file == str(tmp_path / "configs/experiments/e.yaml")


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        expanded(tmp_path, hold={"model": "a"}, recipe="lora-bf61")
    with pytest.raises(BakehouseError, match="held-out"):
        expanded(tmp_path / "b", vary={"model": ["a"], "early_stopping": [2]})


def test_quantised_arms_compute_in_what_the_plain_ones_do(tmp_path: Path) -> None:
    """On a CPU `dtype: auto` may choose bf16 for them: arms would differ in bits and in what they compute in."""
    vary = {"model": ["SmolLM2-135M"], "weights": ["fp32", "4-bit"]}
    found = expanded(tmp_path / "a", recipe="demo", vary=vary)
    assert {arm.recipe.dtype for arm in found.arms} == {"fp32"}
    mixed = expanded(
        tmp_path / "b", recipe="demo", vary={"model": ["SmolLM2-135M"], "weights": ["fp32", "bf16", "4-bit"]}
    )
    assert [arm.recipe.dtype for arm in mixed.arms] == ["fp32", "bf16", "auto"]
