"""An experiment in the queue: what is queued, what waits for what, and what is queued when it is asked for again."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from core.errors import GateError, InputError, NotFoundError
from core.experiment_submission.queueing import submit_experiment
from core.jobfile.bakeoff import BakeoffSpec
from core.jobfile.convert import ConvertSpec
from core.jobfile.merge import MergeSpec
from core.jobfile.quantize import QuantizeSpec
from core.jobfile.train import TrainSpec
from core.store.database import transaction
from tests.support.commands import called
from tests.support.lab import Lab, lab
from tests.support.stored import step


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return lab(tmp_path, monkeypatch)


def train(home: Lab, job_id: int) -> TrainSpec:
    spec = home.spec(job_id)
    assert isinstance(spec, TrainSpec)
    return spec


def bakeoff(home: Lab, job_id: int) -> BakeoffSpec:
    spec = home.spec(job_id)
    assert isinstance(spec, BakeoffSpec)
    return spec


def test_blocks_of_seeds_each_end_with_a_bakeoff_of_all_so_far(home: Lab) -> None:
    queued = home.run(vary={"model": ["small", "large"], "rank": [2, 4]}, tasks=["judge", "tidy"], seeds=3)
    assert Counter(run.role for run in queued.runs) == {"final": 4 * 2 * 3} and queued.lacking == ()
    assert [(one.task, one.block) for one in queued.bakeoffs] == [
        (task, block) for block in (1, 2, 3) for task in ("judge", "tidy")
    ]
    first, third = (one for one in queued.bakeoffs if one.task == "judge" and one.block in (1, 3))
    finals = [run for run in queued.runs if run.task == "judge"]
    # A bake-off stands in the queue before the trainings of the next block.
    assert first.job_id < min(run.job_id for run in finals if run.seed == 1)
    spec = bakeoff(home, third.job_id)
    assert [one.name for one in spec.candidates if one.form == "base"] == ["small base", "large base"]
    assert {one.ref for one in spec.candidates if one.form == "adapter"} == {
        f"job:{run.job_id}/adapter" for run in finals
    }
    assert len(spec.candidates) == 2 + 12 and spec.lacking_left_out and not spec.curtail
    assert spec.takes_over == [one.job_id for one in queued.bakeoffs if one.task == "judge" and one.block < 3]
    assert home.waits_for(third.job_id) == dict.fromkeys((*(r.job_id for r in finals), *spec.takes_over), "ended")
    told = train(home, finals[-1].job_id)
    assert (told.recipe.seed, told.recipe.rank, told.recipe.alpha, told.model.name) == (2, 4, 8, "large")


def test_trials_come_first_and_each_training_chooses_by_those_of_its_arm(home: Lab) -> None:
    queued = home.run(learning_rates=[1e-3, 1e-4], trial={"steps": 3, "eval_fraction": 0.25})
    trials = [run for run in queued.runs if run.role == "trial"]
    finals = [run for run in queued.runs if run.role == "final"]
    assert len(trials) == 4 and len(finals) == 4 and max(r.job_id for r in trials) < min(r.job_id for r in finals)
    tried = train(home, trials[1].job_id)
    assert (tried.recipe.lr, tried.recipe.steps, tried.recipe.eval_fraction, tried.choice) == (1e-4, 3, 0.25, None)
    chosen = train(home, finals[-1].job_id)
    own = [run for run in trials if run.arm_key == finals[-1].arm_key]
    assert chosen.choice is not None and chosen.choice.keep is None
    assert [(one.job, one.lr) for one in chosen.choice.trials] == [(run.job_id, run.lr) for run in own]
    assert chosen.choice.siblings == [run.job_id for run in finals[:-1] if run.arm_key == finals[-1].arm_key]
    assert chosen.recipe.steps is None and chosen.recipe.eval_fraction == 0
    assert set(home.waits_for(finals[-1].job_id)) >= {run.job_id for run in own}


def test_in_a_race_each_training_is_held_against_the_trials_of_all_arms(home: Lab) -> None:
    queued = home.run(race={"keep": 1}, trial={"steps": 3})
    trials = {run.job_id for run in queued.runs if run.role == "trial"}
    chosen = train(home, next(run.job_id for run in queued.runs if run.role == "final"))
    (race,) = queued.races
    assert chosen.choice is not None and (chosen.choice.keep, chosen.choice.race) == (1, race.job_id)
    assert home.waits_for(race.job_id) == dict.fromkeys(trials, "ended") and len(trials) == 2


def test_one_learning_rate_is_no_choice(home: Lab) -> None:
    queued = home.run(learning_rates=[2e-4])
    assert {run.role for run in queued.runs} == {"final"}
    assert train(home, queued.runs[0].job_id).recipe.lr == 2e-4


def test_asked_for_again_it_queues_nothing(home: Lab) -> None:
    first = home.run(tasks=["judge", "tidy"], learning_rates=[1e-3, 1e-4])
    jobs = home.kinds()
    again = home.run()
    assert again.runs == () and again.bakeoffs == () and home.kinds() == jobs
    assert again.experiment.id == first.experiment.id


def test_asked_for_again_it_sees_that_a_runner_lives(home: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was killed together with its job would leave for ever what is queued already."""
    home.run()
    started: list[object] = []
    monkeypatch.setattr("core.submission.enqueue.ensure_runner", started.append)
    assert home.run().runs == () and len(started) == 1


def test_an_extension_by_a_model_and_a_seed_queues_only_those(home: Lab) -> None:
    first = home.run()
    more = home.run(vary={"model": ["other", "small", "large"]}, seeds=3)
    there = {run.key for run in first.runs}
    assert not there & {run.key for run in more.runs} and len(more.runs) == 3 * 3 - len(there)
    last = bakeoff(home, more.bakeoffs[-1].job_id)
    everything = {f"job:{run.job_id}/adapter" for run in home.runs()}
    assert {one.ref for one in last.candidates if one.ref} == everything and len(everything) == 9
    assert last.takes_over == [one.job_id for one in home.bakeoffs()][:-1]
    assert home.run().runs == ()


def test_an_arm_that_is_taken_out_of_the_file_stays_queued_and_is_asked_no_more(home: Lab) -> None:
    home.run()
    fewer = home.run(vary={"model": ["small"]}, seeds=3)
    assert [run.seed for run in fewer.runs] == [2]
    assert {one.model.name for one in bakeoff(home, fewer.bakeoffs[-1].job_id).candidates if one.model} == {"small"}
    assert len(home.runs()) == 5


def test_what_a_bakeoff_left_out_is_asked_once_it_was_trained_after_all(home: Lab) -> None:
    queued = home.run(seeds=1)
    good, bad = queued.runs
    (asked,) = queued.bakeoffs
    home.end(good.job_id, "done")
    home.end(bad.job_id, "failed")
    again = home.run()
    assert [job.id for job in again.lacking] == [bad.job_id] and again.bakeoffs == ()
    left_out = {"left_out": [{"candidate": "large s0", "job": bad.job_id, "state": "failed"}]}
    home.end(asked.job_id, "done", left_out)
    assert home.run().bakeoffs == (), "a training that failed has nothing that could be asked"
    with home.database() as connection:
        step(connection, bad.job_id, "waiting")
    (more,) = home.run().bakeoffs
    assert more.block == 1 and bakeoff(home, more.job_id).takes_over == [asked.job_id]
    assert home.run().bakeoffs == ()


def test_a_censored_arm_is_asked_by_no_further_bakeoff(home: Lab) -> None:
    queued = home.run(seeds=1, race={"keep": 1})
    finals = [run for run in queued.runs if run.role == "final"]
    home.end(finals[0].job_id, "done")
    home.end(finals[1].job_id, "done", {"censored": {"rank": 2, "of": 2}})
    left_out = [{"candidate": "large s0", "job": finals[1].job_id, "state": "done"}]
    home.end(queued.bakeoffs[0].job_id, "done", {"left_out": left_out})
    assert home.run().bakeoffs == ()


@pytest.mark.parametrize("state", ["no_model", "bad_model"])
def test_an_untrained_model_that_could_not_be_loaded_is_asked_once_it_can_be(
    home: Lab, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    queued = home.run(seeds=1)
    for run in queued.runs:
        home.end(run.job_id, "done")
    left_out = [{"candidate": "small base", "job": None, "state": state}]
    home.end(queued.bakeoffs[0].job_id, "done", {"left_out": left_out})
    with monkeypatch.context() as absent:
        absent.setattr("core.experiment_submission.bakeoffs.is_usable", lambda *told: False)
        assert home.run().bakeoffs == ()
    assert len(home.run().bakeoffs) == 1


def test_a_job_that_was_removed_is_queued_again(home: Lab) -> None:
    queued = home.run(seeds=1)
    gone = queued.runs[0]
    with home.database() as connection, transaction(connection):
        connection.execute("DELETE FROM dependencies WHERE needs_id = ?", [gone.job_id])
        connection.execute("DELETE FROM jobs WHERE id = ?", [gone.job_id])
    again = home.run()
    assert [run.key for run in again.runs] == [gone.key]
    assert f"job:{again.runs[0].job_id}/adapter" in {
        one.ref for one in bakeoff(home, again.bakeoffs[0].job_id).candidates
    }


def test_a_file_is_measured_behind_merge_conversion_and_quantisation(home: Lab) -> None:
    queued = home.run(measure="Q4_K_M", vary={"model": ["small"]}, seeds=1)
    assert [run.role for run in queued.runs] == ["final", "merge", "convert", "quantize"]
    final, merge, convert, quantize = (run.job_id for run in queued.runs)
    specs = [home.spec(one) for one in (merge, convert, quantize)]
    assert isinstance(specs[0], MergeSpec) and specs[0].adapter == f"job:{final}"
    assert isinstance(specs[1], ConvertSpec) and specs[1].source == f"job:{merge}/merged"
    assert isinstance(specs[2], QuantizeSpec) and specs[2].source == f"job:{convert}/gguf" and specs[2].tuned
    assert specs[2].served.task is not None and specs[2].served.task.name == "judge"
    asked = bakeoff(home, queued.bakeoffs[0].job_id)
    base, tuned = asked.candidates
    assert tuned.ref == f"job:{quantize}/gguf" and base.ref is not None
    made = home.spec(int(base.ref.removeprefix("job:").partition("/")[0]))
    assert isinstance(made, QuantizeSpec) and made.quantization == "Q4_K_M" and not made.tuned
    jobs = home.kinds()
    assert home.run().runs == () and home.kinds() == jobs


def test_two_who_ask_at_once_queue_one_experiment(home: Lab) -> None:
    home.write()
    plans = [home.plan(), home.plan()]
    first, second = (submit_experiment(home.home, home.project, plan, author="tester") for plan in plans)
    assert len(first.runs) == 4 and second.runs == () and second.bakeoffs == ()


def test_arms_that_cannot_be_trained_are_left_out_with_their_reason(home: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    def ask(_home: object, _project: object, _task: str, model: Any, _recipe: object) -> str:
        if model.name == "large":
            raise GateError("3 of 8 examples do not fit", code="too_many_skipped")
        return ""

    monkeypatch.setattr("core.experiment_submission.plan.ask_gates", ask)
    home.write()
    plan = home.plan()
    assert [(one.arm.name, one.error.code) for one in plan.left_out] == [("large", "too_many_skipped")]
    assert {run.arm.name for run in plan.missing} == {"small"}
    home.write(vary={"model": ["large"]})
    with pytest.raises(InputError, match="no arm of e can be trained") as raised:
        home.plan()
    assert raised.value.code == "too_many_skipped"


def test_data_that_has_changed_since_is_refused(home: Lab) -> None:
    home.run()
    data = home.project.root / "data/judge.jsonl"
    data.write_text(data.read_text() + '\n{"prompt": "one more", "completion": "PASS"}')
    with pytest.raises(InputError, match="changed since") as raised:
        home.run()
    assert raised.value.code == "data_changed"
    assert home.run("f", vary={"model": ["small"]}).runs


def test_golden_inputs_in_the_training_data_are_refused(home: Lab) -> None:
    data = home.project.root / "data/judge.jsonl"
    data.write_text(data.read_text() + '\n{"prompt": "golden judge 3", "completion": "PASS"}')
    home.write()
    with pytest.raises(GateError):
        home.plan()


def test_a_name_that_is_not_there_is_told_at_its_place(home: Lab) -> None:
    for said, place in (
        ({"vary": {"model": ["small", "lrage"]}}, "vary.model[1]"),
        ({"arms": [{"model": "smal", "rank": 9}]}, "arms[0].model"),
        ({"tasks": ["judge", "jduge"]}, "tasks[1]"),
    ):
        home.write(**said)
        with pytest.raises(NotFoundError) as raised:
            home.plan()
        assert (
            raised.value.key == place and raised.value.line is not None and "did you mean" in str(raised.value.remedy)
        )


def test_nothing_is_queued_where_one_job_cannot_be_written(home: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    home.write()
    plan = home.plan()
    broken = {key: spec for key, spec in plan.specs.items() if spec.model.name == "small"}
    with pytest.raises(KeyError):
        submit_experiment(home.home, home.project, replace(plan, specs=broken), author="tester")
    assert home.kinds() == {} and home.runs() == []
    assert len(home.run().runs) == 4


def test_the_command_queues_shows_and_lists(home: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    home.write(question="Which?", seeds=1)
    at = ["--project", str(home.project.root)]
    code, out, _ = called(capsys, ["experiment", "run", "e", "--dry-run", *at])
    assert code == 0 and "would queue 2 trainings" in out and home.kinds() == {}
    code, out, _ = called(capsys, ["experiment", "list", *at])
    assert code == 0 and "not run yet" in out
    code, out, _ = called(capsys, ["experiment", "run", "e", "--json", *at])
    document = json.loads(out)
    assert code == 0 and [one["role"] for one in document["queued"]["runs"]] == ["final", "final"]
    code, out, _ = called(capsys, ["experiment", "run", "e", *at])
    assert code == 0 and "nothing was missing" in out
    code, out, _ = called(capsys, ["experiment", "list", "--json", *at])
    (listed,) = [one for one in json.loads(out)["experiments"] if one["name"] == "e"]
    assert listed["jobs"] == {"waiting": 3} and listed["arms"] == ["small", "large"]
    code, _, err = called(capsys, ["experiment", "run", "ee", *at])
    assert code == 4 and "did you mean `e`" in err


def test_a_file_that_is_wrong_is_listed_with_what_is_wrong(home: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    home.write("broken", vary={"rnak": [1]})
    code, out, _ = called(capsys, ["experiment", "list", "--project", str(home.project.root)])
    assert code == 0 and "✗ broken" in out and "rnak" in out
