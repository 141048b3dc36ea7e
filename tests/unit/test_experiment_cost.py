"""What an experiment takes, by trainings whose figures are known; and the part of it that there is time for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import InputError
from core.submission.experiment_cost import ExperimentCost, experiment_cost
from core.submission.experiment_hours import within_hours
from core.submission.experiment_plan import ExperimentPlan
from core.wording.experiment_cost import chosen_words, cost_lines
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
        return plan, experiment_cost(connection, home.project, plan)


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
    assert trials == [3 * STEP + EXTRA] * 2
    assert [(one.task, one.block, one.seconds) for one in cost.bakeoffs] == [("judge", 1, None)]
    assert len(plan.missing) == 3
