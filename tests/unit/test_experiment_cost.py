"""What an experiment takes, by trainings whose figures are known; and the part of it that there is time for."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from core.errors import InputError
from core.experiment_submission.cost import ExperimentCost, experiment_cost
from core.experiment_submission.hours import within_hours
from core.experiment_submission.outlook import experiment_outlook
from core.experiment_submission.plan import ExperimentPlan
from core.submission.measured_trainings import measured_trainings
from core.submission.measured_work import MeasuredFile, seconds_of_file
from core.wording.experiment_cost import chosen_words, cost_lines, outlook_lines
from tests.support.commands import called
from tests.support.lab import Lab, lab

STEP, EXTRA = 10.0, 5.0


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return lab(tmp_path, monkeypatch)


def priced(home: Lab, **said: Any) -> tuple[ExperimentPlan, ExperimentCost]:
    if said:
        home.write("e", **said)
    plan = home.plan("e")
    with home.database() as connection:
        return plan, experiment_cost(home.home, connection, home.project, plan)


def train_once(home: Lab, model: str, step: float, *, rank: int = 4, name: str = "before") -> None:
    """A training of the home that took `step` seconds an optimizer step."""
    queued = home.run(name, vary={"model": [model], "rank": [rank]}, hold={"steps": 4}, seeds=1)
    job_id = queued.runs[0].job_id
    spec = home.spec(job_id)
    used = spec.recipe.model_dump(mode="json")  # type: ignore[attr-defined]
    whole = 4 * step + EXTRA
    home.end(job_id, "done", {"recipe_used": used, "steps": 4, "seconds_per_step": step, "seconds": whole})


def test_nothing_is_known_where_nothing_has_run(home: Lab) -> None:
    _, cost = priced(home, hold={"steps": 4})
    assert {arm.name for arm in cost.unknown} == {"small", "large"} and not cost.bakeoffs_known
    assert "nothing like it has run" in " ".join(cost_lines(cost))
    with pytest.raises(InputError) as refused:
        within_hours(home.plan("e"), cost, 8)
    assert refused.value.code == "time_unknown"


def test_the_time_of_the_same_model_is_measured_and_of_another_unknown_without_its_size(home: Lab) -> None:
    train_once(home, "small", STEP)
    _, cost = priced(home, hold={"steps": 8}, seeds=2)
    by_model = {one.run.arm.model: one for one in cost.runs}
    assert by_model["small"].basis == "measured" and by_model["small"].seconds == 8 * STEP + EXTRA
    assert by_model["large"].seconds is None, "the files of these models tell no size"
    assert [arm.name for arm in cost.unknown] == ["large"]


def test_of_several_ranks_the_nearest_counts(home: Lab) -> None:
    train_once(home, "small", 10.0, rank=2, name="low")
    train_once(home, "small", 30.0, rank=32, name="high")
    said: dict[str, Any] = {"vary": {"model": ["small"], "rank": [4, 24]}, "hold": {"steps": 2}, "seeds": 1}
    _, cost = priced(home, **said)
    assert [one.seconds for one in cost.runs] == [2 * 10.0 + EXTRA, 2 * 30.0 + EXTRA]


def test_hours_take_whole_seeds_first_and_leave_out_the_dearest_arms_where_not_one_fits(home: Lab) -> None:
    train_once(home, "small", 10.0, name="a")
    train_once(home, "large", 40.0, name="b")
    plan, cost = priced(home, hold={"steps": 100}, seeds=3)
    small, large = 100 * 10.0 + EXTRA, 100 * 40.0 + EXTRA
    assert cost.seconds == 3 * (small + large) and not cost.unknown
    whole = within_hours(plan, cost, 3 * (small + large) / 3600)
    assert len(whole.runs) == 6 and not whole.seeds_left_out and "nothing is left out" in chosen_words(whole, 5)
    two = within_hours(plan, cost, 2.5 * (small + large) / 3600)
    assert {run.seed for run in two.runs} == {0, 1} and two.seeds_left_out == (2,) and not two.arms_left_out
    cheap = within_hours(plan, cost, 2.5 * small / 3600)
    assert {(run.arm.model, run.seed) for run in cheap.runs} == {("small", 0), ("small", 1)}
    assert [arm.model for arm in cheap.arms_left_out] == ["large"] and cheap.seconds <= 2.5 * small
    assert "the arms large and seed 2" in chosen_words(cheap, 1)
    with pytest.raises(InputError) as refused:
        within_hours(plan, cost, 0.5 * small / 3600)
    assert refused.value.code == "too_few_hours"


def test_what_is_queued_within_hours_is_gone_on_with_later(home: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    train_once(home, "small", 10.0, name="a")
    train_once(home, "large", 40.0, name="b")
    home.write("e", hold={"steps": 100}, seeds=3)
    words = ["experiment", "run", "e", "--project", str(home.project.root), "--json"]
    hours = str(1.2 * (2 * EXTRA + 5000) / 3600)
    dry = json.loads(called(capsys, [*words, "--hours", hours, "--dry-run"])[1])
    assert dry["within"]["seeds_left_out"] == [1, 2] and dry["queued"] is None and not home.runs("e")
    some = json.loads(called(capsys, [*words, "--hours", hours])[1])
    assert {run["seed"] for run in some["queued"]["runs"]} == {0} and len(home.bakeoffs("e")) == 1
    rest = json.loads(called(capsys, words)[1])
    assert {run["seed"] for run in rest["queued"]["runs"]} == {1, 2} and len(home.runs("e")) == 6


def test_trials_and_bakeoffs_are_counted(home: Lab) -> None:
    train_once(home, "small", STEP)
    plan, cost = priced(
        home, vary={"model": ["small"]}, hold={"steps": 8}, seeds=1, learning_rates=[1e-3, 1e-4], trial={"steps": 3}
    )
    trials = [one.seconds for one in cost.runs if one.run.role == "trial"]
    # Two of eight examples are held out and evaluated once, at a third of what a trained one takes.
    assert trials == pytest.approx([(3 + 2 / 3) * STEP + EXTRA] * 2)
    assert [(one.task, one.block, one.seconds) for one in cost.bakeoffs] == [("judge", 1, None)]
    assert len(plan.missing) == 3


def test_in_a_race_the_dearest_that_can_go_on_are_counted(home: Lab) -> None:
    train_once(home, "small", 10.0, name="a")
    train_once(home, "large", 40.0, name="b")
    plan, cost = priced(home, hold={"steps": 100}, seeds=2, race={"keep": 1}, trial={"steps": 3})
    trials = sum(one.seconds or 0.0 for one in cost.runs if one.run.role == "trial")
    assert trials and cost.seconds == pytest.approx(trials + 2 * (100 * 40.0 + EXTRA))
    one_block = within_hours(plan, cost, (trials + 1.5 * (100 * 40.0 + EXTRA)) / 3600)
    assert one_block.seeds_left_out == (1,) and not one_block.arms_left_out
    assert any("a race" in line for line in cost_lines(cost))


def test_answers_are_counted_by_the_pace_of_their_model(home: Lab) -> None:
    queued = home.run("before", vary={"model": ["small"]}, seeds=1)
    home.end(queued.runs[0].job_id, "done", {})
    asked = [
        {"name": "tuned", "ref": f"job:{queued.runs[0].job_id}/adapter", "form": "adapter", "seconds_per_answer": 2.0},
        {"name": "small base", "ref": None, "form": "base", "seconds_per_answer": 5.0},
    ]
    home.end(queued.bakeoffs[0].job_id, "done", {"task": "judge", "candidates": asked})
    _, cost = priced(home, vary={"model": ["small"], "rank": [2, 4]}, seeds=2)
    assert [one.seconds for one in cost.bakeoffs] == [6 * (2 * 2.0 + 5.0), 6 * 2 * 2.0]
    _, other = priced(home, vary={"model": ["large"]}, seeds=1)
    assert [one.seconds for one in other.bakeoffs] == [None], "neither its answers nor its size are known"


def test_a_time_of_another_task_is_scaled_and_a_gpus_is_none_of_a_cpus(home: Lab) -> None:
    train_once(home, "small", STEP)
    _, cost = priced(home, vary={"model": ["small"]}, tasks=["judge", "tidy"], hold={"steps": 4}, seeds=1)
    assert {one.run.task: one.basis for one in cost.runs} == {"judge": "measured", "tidy": "scaled"}
    with home.database() as connection:
        set_device = "UPDATE jobs SET result = json_set(result, '$.summary.device', json('{\"type\": \"cuda\"}'))"
        connection.execute(f"{set_device} WHERE kind = 'train' AND state = 'done'")
        assert measured_trainings(connection, home.project, "cpu") == []
        assert len(measured_trainings(connection, home.project, "gpu")) == 1


def test_files_that_are_made_of_an_adapter_are_counted_as_they_took_before(home: Lab) -> None:
    sizes = {"small": 1000, "large": 3000}
    made = [MeasuredFile("merge", "small", 20.0), MeasuredFile("merge", "small", 40.0)]
    assert seconds_of_file(made, "merge", "small", sizes.get) == 30.0
    assert seconds_of_file(made, "merge", "large", sizes.get) == 90.0
    assert seconds_of_file(made, "convert", "small", sizes.get) is None
    _, cost = priced(home, vary={"model": ["small"]}, measure="Q4_K_M", seeds=1)
    assert [one.run.role for one in cost.runs] == ["final", "merge", "convert", "quantize"]
    assert {one.seconds for one in cost.runs} == {None}


def test_what_an_experiment_meets_is_said_with_its_cost(home: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Models that are still to be pulled take disk as well, a disk that is too small is named, and so are other jobs."""
    home.run("before", vary={"model": ["small"]}, seeds=2)
    file = home.project.root / "configs/models.yaml"
    entry = {"hub": "nobody/far", "parameters": 10**9, "family": "llama"}
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "far": entry}))
    home.write("e", vary={"model": ["small", "far"]}, seeds=1)
    free = home.project.settings.queue.min_free_disk_bytes + 10**9
    monkeypatch.setattr("core.experiment_submission.outlook.shutil.disk_usage", lambda path: SimpleNamespace(free=free))
    found = experiment_outlook(home.home, home.project, home.project.experiment("e"))
    said = " ".join(outlook_lines(found))
    assert found.cost.pull_bytes == 2 * 10**9 and found.cost.disk_bytes >= found.cost.pull_bytes
    assert found.others == 4 and "4 other jobs are in the queue" in said, "two trainings, and a bake-off behind each"
    assert "2.0 GB of disk" in said and "the disk has room for 1.0 GB" in said
    own = experiment_outlook(home.home, home.project, home.project.experiment("before"))
    assert own.others == 0 and own.cost.pull_bytes == 0 and not list(outlook_lines(own))


def test_a_model_that_is_left_out_is_not_pulled(home: Lab) -> None:
    file = home.project.root / "configs/models.yaml"
    entry = {"hub": "nobody/vast", "parameters": 10**12, "family": "llama"}
    file.write_text(yaml.safe_dump({**yaml.safe_load(file.read_text()), "vast": entry}))
    home.write("e", vary={"model": ["small", "vast"]}, seeds=1)
    found = experiment_outlook(home.home, home.project, home.project.experiment("e"))
    assert [one.arm.model for one in found.plan.left_out] == ["vast"] and found.cost.pull_bytes == 0
