"""A race of many arms: one job puts them in order, the rule may change later, and nothing is trained twice for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import GateError
from core.experiment_submission.queueing import QueuedExperiment, submit_experiment
from core.experiments.choice import Censored, Chosen
from core.files import read_json, write_json
from core.jobfile.race import RaceSpec, record_of, rule_of
from core.jobfile.spec import JobFile
from core.jobfile.train import TrainSpec
from core.store.database import transaction
from core.store.experiments import StoredRun, count_jobs, experiment_of_job, lacking_jobs
from core.store.jobs import get_job
from jobs import race as race_job
from jobs.choice import decide
from jobs.context import JobContext
from tests.support.commands import called
from tests.support.lab import Lab, lab
from tests.support.stored import step

MODELS = ["small", "large", "other"]
SAID: dict[str, Any] = {"vary": {"model": MODELS}, "trial": {"steps": 3}, "seeds": 2}
LOSSES = {"small": 0.5, "large": 0.7, "other": 0.9}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    return lab(tmp_path, monkeypatch)


def asked(home: Lab, keep: int | None, **said: Any) -> QueuedExperiment:
    race = {} if keep is None else {"race": {"keep": keep}}
    return home.run(**{**SAID, **race, **said})


def finals(home: Lab, seed: int | None = None) -> dict[str, int]:
    """The jobs of the trainings by model, of the first seed unless another one is named."""
    with home.database() as connection:
        return {
            get_job(connection, run.job_id).model or "": run.job_id
            for run in home.runs()
            if run.role == "final" and run.seed == (seed or 0)
        }


def context(home: Lab, job_id: int) -> JobContext:
    run = home.home.run_dir(job_id)
    attempt = run.attempt(1)
    attempt.path.mkdir(exist_ok=True)
    return JobContext.open(run, attempt)


def reach(home: Lab, run: StoredRun, loss: float | None) -> None:
    """A trial ends, well where there is a loss."""
    held_out = None if loss is None else {"loss": loss, "tokens": 100, "bytes": 400, "lines_sha256": "x"}
    home.end(run.job_id, "failed" if loss is None else "done", {"held_out": held_out})


def try_all(home: Lab, losses: dict[str, float | None] | dict[str, float]) -> None:
    for run in home.runs():
        if run.role == "trial":
            with home.database() as connection:
                model = get_job(connection, run.job_id).model or ""
            reach(home, run, losses[model])


def race(home: Lab, job_id: int) -> dict[str, Any]:
    """The job runs in this process; its summary."""
    spec = home.spec(job_id)
    assert isinstance(spec, RaceSpec)
    race_job.run(context(home, job_id), spec)
    summary: dict[str, Any] = read_json(home.home.run_dir(job_id).result)["summary"]
    home.end(job_id, "done", summary)
    return summary


def choose(home: Lab, job_id: int) -> Chosen | Censored:
    spec = home.spec(job_id)
    assert isinstance(spec, TrainSpec) and spec.choice is not None
    return decide(context(home, job_id), spec.choice)


def train_all(home: Lab) -> dict[str, list[int]]:
    """Every training that waits decides and ends as it decided; the models of those that went on, with their seeds."""
    trained: dict[str, list[int]] = {}
    for run in sorted(home.runs(), key=lambda run: run.job_id):
        with home.database() as connection:
            job = get_job(connection, run.job_id)
        if run.role != "final" or job.state != "waiting":
            continue
        found = choose(home, run.job_id)
        document = json.loads(json.dumps(found, default=vars))
        home.end(run.job_id, "done", {"choice" if isinstance(found, Chosen) else "censored": document})
        if isinstance(found, Chosen):
            trained.setdefault(job.model or "", []).append(run.seed)
    return trained


def raced(home: Lab, keep: int = 1, **said: Any) -> int:
    """An experiment whose race and trainings are over; the job of the race."""
    queued = asked(home, keep, **said)
    try_all(home, LOSSES)
    race(home, queued.races[0].job_id)
    assert set(train_all(home)) == set(MODELS[:keep])
    return queued.races[0].job_id


def test_one_job_a_task_waits_for_all_trials_and_each_training_waits_for_it_and_for_its_own(home: Lab) -> None:
    queued = asked(home, 1, tasks=["judge", "tidy"], learning_rates=[1e-3, 1e-4])
    assert [one.task for one in queued.races] == ["judge", "tidy"]
    for one in queued.races:
        trials = [run for run in queued.runs if run.role == "trial" and run.task == one.task]
        assert home.waits_for(one.job_id) == dict.fromkeys((run.job_id for run in trials), "ended")
        for run in queued.runs:
            if run.role == "final" and run.task == one.task:
                own = [trial.job_id for trial in trials if trial.arm_key == run.arm_key]
                assert home.waits_for(run.job_id) == {**dict.fromkeys(own, "ended"), one.job_id: "done"}
    with home.database() as connection:
        assert all(experiment_of_job(connection, one.job_id) == queued.experiment for one in queued.races)
        assert sum(count_jobs(connection, 1).values()) == len(queued.runs) + len(queued.bakeoffs) + 2
    assert home.run().races == ()


def test_what_is_queued_grows_with_the_arms_and_not_with_their_square(home: Lab) -> None:
    wide = {"race": {"keep": 2}, "trial": {"steps": 3}, "seeds": 1, "learning_rates": [1e-3, 1e-4]}
    wide |= {"hold": {"model": "small"}}

    def size(ranks: int) -> tuple[int, int]:
        queued = home.run(f"e{ranks}", vary={"rank": list(range(1, ranks + 1))}, **wide)
        jobs = [run.job_id for run in queued.runs if run.role == "final"]
        return (
            sum(len(home.waits_for(job)) for job in jobs),
            sum(home.home.run_dir(job).job_file.stat().st_size for job in jobs),
        )

    (rows, size_of_four), (more, size_of_sixteen) = size(4), size(16)
    assert (rows, more) == (4 * 3, 16 * 3) and size_of_sixteen < 4.2 * size_of_four


def test_the_arms_are_put_in_order_once_and_each_training_goes_by_it(home: Lab) -> None:
    queued = asked(home, 2)
    (one,) = queued.races
    try_all(home, LOSSES)
    told = race(home, one.job_id)
    names = home.spec(one.job_id).arms  # type: ignore[attr-defined]
    assert [(names[place["arm"]], place["rank"]) for place in told["places"]] == [
        ("small", 1),
        ("large", 2),
        ("other", 3),
    ]
    assert told["keep"] == 2 and told["race_off"] is None
    # A trial turns out otherwise after all: what is on record stays.
    trial = next(run for run in home.runs() if run.role == "trial")
    write_json(home.home.run_dir(trial.job_id).result, {"summary": {"held_out": None}, "artefacts": []})
    found = {model: choose(home, job) for model, job in finals(home).items()}
    assert [(model, isinstance(one, Chosen), one.rank, one.of) for model, one in found.items()] == [
        ("small", True, 1, 3),
        ("large", True, 2, 3),
        ("other", False, 3, 3),
    ]
    assert found["small"].trials[0].loss == LOSSES["small"]
    again = record_of(home.home.run_dir(one.job_id)).read_bytes()
    race_job.run(context(home, one.job_id), home.spec(one.job_id))  # type: ignore[arg-type]
    assert record_of(home.home.run_dir(one.job_id)).read_bytes() == again, "a retry goes by what is on record"


def test_an_arm_that_is_tried_after_the_race_is_held_against_what_the_race_has_on_record(home: Lab) -> None:
    queued = asked(home, 1, seeds=1)
    try_all(home, {**LOSSES, "small": None, "other": None})
    race(home, queued.races[0].job_id)
    jobs = finals(home)
    with pytest.raises(GateError) as refused:
        choose(home, jobs["small"])
    assert refused.value.code == "no_trial" and not home.home.run_dir(jobs["small"]).choice.exists()
    for run in home.runs():
        if run.role == "trial":
            with home.database() as connection:
                job = get_job(connection, run.job_id)
                if job.state == "failed":
                    step(connection, job.id, "waiting")
            if job.state == "failed":
                reach(home, run, LOSSES[job.model or ""])
    found = {model: choose(home, job) for model, job in jobs.items()}
    assert {model: (one.rank, one.of) for model, one in found.items()} == {
        "small": (1, 2),
        "large": (1, 1),
        "other": (2, 2),
    }
    assert [model for model, one in found.items() if isinstance(one, Chosen)] == ["small", "large"]


def test_a_training_whose_race_left_nothing_is_refused_with_what_helps(home: Lab) -> None:
    queued = asked(home, 1)
    try_all(home, LOSSES)
    with pytest.raises(GateError) as refused:
        choose(home, finals(home)["small"])
    assert refused.value.code == "no_race" and f"retry job {queued.races[0].job_id}" in str(refused.value)


def test_a_race_that_failed_lacks_and_is_no_race_anew(home: Lab) -> None:
    queued = asked(home, 1)
    try_all(home, LOSSES)
    home.end(queued.races[0].job_id, "failed")
    again = home.run()
    assert [job.id for job in again.lacking] == [queued.races[0].job_id] and again.races == ()
    with home.database() as connection:
        assert lacking_jobs(connection, 1) == [queued.races[0].job_id]


def test_a_further_seed_is_in_the_same_race_and_a_further_model_makes_another_one(home: Lab) -> None:
    first = raced(home, vary={"model": MODELS})
    more = asked(home, 1, seeds=3)
    assert more.races == () and len(more.runs) == 3
    assert {home.spec(run.job_id).choice.race for run in more.runs} == {first}  # type: ignore[attr-defined]
    assert train_all(home) == {"small": [2]}
    wider = asked(home, 1, seeds=3, vary={"model": MODELS, "rank": [4, 8]})
    (second,) = wider.races
    trials = {run.job_id for run in home.runs() if run.role == "trial"}
    assert second.job_id != first and set(home.waits_for(second.job_id)) == trials and len(trials) == 6


def test_a_larger_keep_before_the_race_is_decided_is_what_it_goes_by(home: Lab) -> None:
    queued = asked(home, 1)
    more = asked(home, 2)
    assert more.runs == () and more.bakeoffs == () and more.races == ()
    assert "2 go on by the race of job" in more.remarks[0] and home.run().remarks == ()
    try_all(home, LOSSES)
    assert race(home, queued.races[0].job_id)["keep"] == 2
    assert train_all(home) == {"small": [0, 1], "large": [0, 1]}


@pytest.fixture(params=["as it is queued now", "as it was queued before there were races"])
def was_raced(home: Lab, request: pytest.FixtureRequest) -> Callable[..., None]:
    """An experiment of which the race stopped two arms of three."""

    def make(**said: Any) -> None:
        job = raced(home, **said)
        if request.param.startswith("as it was"):
            with home.database() as connection, transaction(connection):
                connection.execute("DELETE FROM dependencies WHERE needs_id = ?", [job])
                connection.execute("DELETE FROM jobs WHERE id = ?", [job])

    return make


def test_a_larger_keep_queues_exactly_those_again_that_go_on_by_it(
    home: Lab, was_raced: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    was_raced()
    before = {run.key: run.job_id for run in home.runs()}
    home.write(**{**SAID, "race": {"keep": 2}})
    plan = home.plan()
    assert [(task, arm.name) for task, arm in plan.revived_arms] == [("judge", "large")]
    at = ["--project", str(home.project.root)]
    code, out, _ = called(capsys, ["experiment", "run", "e", "--dry-run", *at])
    assert code == 0 and "2 trainings" in out and "they go on now: large" in " ".join(out.split())

    more = home.run()
    assert [(run.role, run.seed) for run in more.runs] == [("final", 0), ("final", 1)] and len(more.bakeoffs) == 2
    now = {run.key: run.job_id for run in home.runs()}
    assert now.keys() == before.keys()
    changed = {key for key in now if now[key] != before[key]}
    assert changed == {run.key for run in more.runs}, "no trial is redone, and nothing that was trained"
    assert home.run().runs == () and home.run().bakeoffs == ()
    if more.races:
        race(home, more.races[0].job_id)
    assert train_all(home) == {"large": [0, 1]}
    assert home.run().runs == ()


def test_two_who_raise_it_at_once_queue_it_once(home: Lab, was_raced: Callable[..., None]) -> None:
    was_raced()
    home.write(**{**SAID, "race": {"keep": 3}})
    plans = [home.plan(), home.plan()]
    first, second = (submit_experiment(home.home, home.project, plan, author="tester") for plan in plans)
    assert len(first.runs) == 4 and (second.runs, second.bakeoffs, second.races) == ((), (), ())


def test_without_a_race_all_go_on(home: Lab, was_raced: Callable[..., None]) -> None:
    was_raced(learning_rates=[1e-3, 1e-4])
    more = asked(home, None, learning_rates=[1e-3, 1e-4])
    assert len(more.runs) == 4 and more.races == ()
    assert sorted(train_all(home)) == ["large", "other"]


def test_what_is_made_of_a_stopped_training_is_made_of_its_successor(home: Lab) -> None:
    made = {"measure": "Q8_0", "seeds": 1}
    raced(home, **made)
    roles = {"final", "merge", "convert", "quantize"}
    before = {run.key: run.job_id for run in home.runs()}
    more = asked(home, 2, **made)
    assert {run.role for run in more.runs} == roles and len(more.runs) == 4 and len(more.bakeoffs) == 1
    final, merge, *_ = more.runs
    assert home.spec(merge.job_id).needs == (final.job_id,)
    assert not {run.job_id for run in more.runs} & set(before.values())
    assert home.run().runs == ()


def test_a_smaller_keep_redoes_nothing_and_takes_back_nothing_that_was_trained(home: Lab) -> None:
    first = raced(home, keep=2, seeds=1)
    before = {run.key: run.job_id for run in home.runs()}
    more = asked(home, 1, seeds=1)
    assert (more.runs, more.bakeoffs) == ((), ()) and {run.key: run.job_id for run in home.runs()} == before
    home.write(**{**SAID, "race": {"keep": 1}, "seeds": 1})
    assert any("stays in the answer: large" in remark for remark in home.plan().remarks)
    # A further seed of what was trained is trained, so that the arm is whole; of the others none is.
    asked(home, 1, seeds=2)
    assert read_json(rule_of(home.home.run_dir(first))) == {"keep": 1}
    assert train_all(home) == {"small": [1], "large": [1]}


def test_a_smaller_keep_before_the_trainings_stops_those_that_have_not_begun(home: Lab) -> None:
    queued = asked(home, 3)
    try_all(home, LOSSES)
    race(home, queued.races[0].job_id)
    asked(home, 1)
    assert train_all(home) == {"small": [0, 1]}


def test_a_submission_that_fails_before_its_end_is_made_up_for_by_the_next_one(
    home: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the race was told the rule of now already."""
    raced(home)
    before = {run.key: run.job_id for run in home.runs()}

    def cut(*told: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("core.experiment_submission.queueing.get_experiment", cut)
        with pytest.raises(KeyboardInterrupt):
            asked(home, 2)
    assert {run.key: run.job_id for run in home.runs()} == before
    assert len(home.run().runs) == 2
    for run in home.runs():
        assert JobFile.load(home.home.run_dir(run.job_id)).id == run.job_id
