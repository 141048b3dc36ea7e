"""What `bakehouse config check` says of the experiments of a project."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.config.project import load_project, shipped
from core.experiments.arms import expand
from core.experiments.file_check import check_experiments
from tests.support.commands import called
from tests.support.projects import write_files


@pytest.mark.parametrize(
    ("text", "key", "code"),
    [
        ("tasks: [judge]\nrecipe: lora-bf61\nhold: {model: Qwen3-4B}\n", "recipe", "recipe_not_found"),
        ("tasks: [judge, jugde]\nrecipe: demo\nhold: {model: Qwen3-4B}\n", "tasks[1]", "task_not_found"),
        ("tasks: [judge]\nrecipe: demo\nvary: {model: [Qwen3-4B, Qwen3-3B]}\n", "vary.model[1]", "model_not_found"),
        ("tasks: [judge]\nrecipe: demo\narms: [{model: Qwen}]\n", "arms[0].model", "model_not_found"),
        ("tasks: [judge]\nrecipe: demo\nhold: {model: Qwen3-4B, early_stopping: 2}\n", "vary", "wrong_value"),
        ("tasks: [judge]\nrecipe: demo\nhold: {model: Qwen3-4B}\nsedes: 3\n", "sedes", "unknown_key"),
    ],
)
def test_a_problem_is_told_with_its_place(tmp_path: Path, text: str, key: str, code: str) -> None:
    project = load_project(write_files(tmp_path, {"bakehouse.yaml": "id: x\n", "configs/experiments/e.yaml": text}))
    (problem,) = check_experiments(project)
    assert (problem.key, problem.code) == (key, code) and problem.file == str(tmp_path / "configs/experiments/e.yaml")


def test_a_file_of_another_ending_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_files(tmp_path, {"bakehouse.yaml": "id: x\n", "configs/experiments/e.yml": "tasks: [judge]\n"})
    code, out, _ = called(capsys, ["config", "check", "--project", str(tmp_path)])
    assert code == 2 and "rename it to e.yaml" in out


def test_what_is_shipped_is_well_and_asks_the_published_question() -> None:
    project = shipped()
    assert check_experiments(project) == []
    experiment = project.experiment("precision-rank-size")
    arms = [arm.name for arm in expand(experiment, project).arms]
    assert arms == [f"Qwen3-4B {weights} r{rank}" for weights in ("bf16", "4-bit") for rank in (8, 16, 32)] + [
        "Qwen3-1.7B bf16 r32"
    ]
