"""What is measured of an experiment, how far it is, and how it is shown, out of a store without any process."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from core.config.project import Project
from core.errors import NotFoundError
from core.experiments.shown import ShownExperiment, shown_experiment
from core.home import Home
from core.store.database import open_database
from tests.support.commands import called
from tests.support.stored_experiment import LARGE, NAME, PEAKS, SMALL, STEP_SECONDS, STEPS, home_with_experiment


def shown(home: Home, project: Project) -> ShownExperiment:
    with contextlib.closing(open_database(home)) as connection:
        return shown_experiment(home, connection, project, NAME)


def test_scores_costs_and_ends_are_those_of_the_runs(tmp_path: Path) -> None:
    found = shown(*home_with_experiment(tmp_path))
    (task,) = found.tasks
    assert (task.evidence.block, task.evidence.blocks) == (3, 3) and found.standing.stand == "done"
    assert [(arm.name, arm.end, arm.seeds) for arm in task.evidence.arms] == [
        (name, "measured", (0, 1, 2)) for name in PEAKS
    ]
    assert set(task.evidence.untrained) == {SMALL, LARGE}
    first = task.evidence.arms[0]
    assert first.scores["format"].values.shape == (3, 12)
    assert {cost.peak_bytes for cost in first.costs} == {PEAKS[first.name]}
    assert {cost.seconds_a_step for cost in first.costs} == {STEP_SECONDS[first.name]}
    assert {cost.joules for cost in first.costs} == {STEPS * STEP_SECONDS[first.name] * 210.0}
    assert (first.parameters, first.trainable) == (task.evidence.arms[1].parameters, 66_060_288)
    names = found.names
    assert names[task.answer.winner or ""] == f"{SMALL} bf16"
    assert task.answer.predictions["format"].order_before == (LARGE, SMALL)


def test_after_one_block_the_answer_is_provisional(tmp_path: Path) -> None:
    found = shown(*home_with_experiment(tmp_path, blocks=1))
    (task,) = found.tasks
    assert task.answer.provisional and task.answer.estimand == "adapter"
    assert found.standing.stand == "running"
    assert [arm.end for arm in task.evidence.arms] == ["partly"] * 3
    assert [arm.stand for arm in found.standing.arms] == ["running", "waiting", "waiting"]
    assert [(one.block, one.stand) for one in found.standing.bakeoffs] == [(1, "done"), (2, "waiting"), (3, "waiting")]


def test_before_the_first_block_nothing_is_answered(tmp_path: Path) -> None:
    (task,) = shown(*home_with_experiment(tmp_path, blocks=0)).tasks
    assert task.answer.leader is None
    assert {caveat.code for caveat in task.answer.caveats} == {"nothing_measured", "arms_waiting"}


def test_an_arm_that_failed_is_left_out_and_named(tmp_path: Path) -> None:
    name = f"{SMALL} 4-bit"
    found = shown(*home_with_experiment(tmp_path, failed=[(name, seed) for seed in range(3)]))
    (task,) = found.tasks
    ends = {arm.name: arm.end for arm in task.evidence.arms}
    assert ends == {f"{SMALL} bf16": "measured", name: "failed", f"{LARGE} 4-bit": "measured"}
    (failed,) = (one for one in task.answer.caveats if one.code == "arms_failed")
    assert [found.names[key] for key in failed.values["arms"]] == [name]
    assert found.standing.jobs["failed"] == 3 and found.standing.stand == "done"


def test_an_unknown_name_and_an_unknown_task_are_told(tmp_path: Path) -> None:
    home, project = home_with_experiment(tmp_path, blocks=0)
    with contextlib.closing(open_database(home)) as connection:
        with pytest.raises(NotFoundError) as unknown:
            shown_experiment(home, connection, project, "tournament-juge")
        with pytest.raises(NotFoundError) as no_task:
            shown_experiment(home, connection, project, NAME, "planner")
        with pytest.raises(NotFoundError) as not_run:
            shown_experiment(home, connection, project, "precision-rank")
    assert (unknown.value.code, no_task.value.code) == ("experiment_not_found", "no_task")
    assert NAME in str(unknown.value.remedy) and not_run.value.code == "experiment_not_run"


def test_the_command_says_who_wins_and_what_to_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home, project = home_with_experiment(tmp_path)
    monkeypatch.setenv("BAKEHOUSE_HOME", str(home.root))
    monkeypatch.setenv("COLUMNS", "120")
    words = ["experiment", "show", NAME, "--project", str(project.root)]
    code, said, _ = called(capsys, words)
    assert code == 0 and f"{SMALL} bf16 wins" in said and "◆" in said and "├" in said
    assert "The ranking before training does not predict the one after, in format" in said
    document = json.loads(called(capsys, [*words, "--json"])[1])
    assert document["standing"]["stand"] == "done" and document["answers"]["judge"]["winner"]
    assert called(capsys, [*words, "--task", "planner"])[0] == 4
