"""A night of a small experiment: killed at many points, with an arm that fails and a race, extended, and asked for again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from core.experiment_submission.retry import retry_lacking
from core.experiments.evidence import ArmEvidence
from core.files import read_json
from core.home import AttemptDir
from core.scoring.answers import read_answers
from core.store.database import open_database
from core.store.experiments import BakeoffBlock, StoredRun, bakeoffs_of, runs_of
from core.store.jobs import JobRow, get_job
from tests.support.held_job import Hold, let_go
from tests.support.tiny_tournament import INPUTS, MODELS, PASS_AFTER, RECIPE, TinyTournament, tiny_tournament
from tests.support.workshop import events, losses

pytestmark = pytest.mark.train

ASH, BIRCH, CEDAR, ELM, FIR = MODELS[:5]
NIGHT: dict[str, Any] = {
    "tasks": ["kept"],
    "vary": {"model": [ASH, BIRCH, CEDAR, ELM]},
    "race": {"keep": 2},
    "trial": {"steps": 3, "eval_fraction": 0.25},
    "seeds": 1,
}
POINTS: dict[int, tuple[Hold, str]] = {
    1: (Hold("step", "step", 2), "restart"),
    2: (Hold("phase", "name", "loading the model"), "runner"),
    3: (Hold("phase", "name", "saving the adapter"), "restart"),
    5: (Hold("phase", "name", "reading the trials"), "restart"),
    6: (Hold("phase", "name", "choosing by trials"), "restart"),
    7: (Hold("step", "step", 9), "kill"),
    8: (Hold("step", "step", 9), "kill"),
    10: (Hold("progress", "done", 3), "restart"),
}
"""By job, where its first attempt stands still, and what goes there: jobs 1 to 4 are the trials, 5 is the race, 6 to 9 are
trainings, 10 compares.

Of jobs 6 to 8 the race leaves one out, which never comes to a step.
"""


class Night:
    """The experiment, and what has become of it."""

    def __init__(self, tournament: TinyTournament) -> None:
        self.tournament = tournament
        self.home, self.queue = tournament.home, tournament.queue
        self.gone: list[str] = []

    def work(self) -> None:
        """Let the queue work to its end; at each point something goes, and the experiment is asked for again."""
        while True:
            self.queue.run(until=lambda: self.standing() is not None)
            attempt = self.standing()
            if attempt is None:
                return
            job_id = int(attempt.path.parent.name)
            what = POINTS[job_id][1]
            if what == "runner":
                self.queue.new_runner()
                let_go(attempt)
                del self.queue.launcher.holds[job_id]
            elif what == "kill":
                self.queue.kill(job_id)
            else:
                self.queue.restart_machine()
            self.gone.append(what)
            again = self.tournament.run()
            assert again.runs == again.races == again.bakeoffs == (), "all of it is queued already"

    def standing(self) -> AttemptDir | None:
        """The attempt that stands at its point."""
        for attempt, _ in self.queue.living():
            job_id = int(attempt.path.parent.name)
            if attempt.number == 1 and job_id in self.queue.launcher.holds and self.queue.held(job_id):
                return attempt
        return None

    def retry(self) -> None:
        """`bakehouse experiment run night --retry`."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("core.runner.client.ensure_runner", lambda home: self.queue.round())
            assert not retry_lacking(self.home, self.tournament.project, "night", by="tester").refused
        self.tournament.run()
        self.work()

    def runs(self) -> list[StoredRun]:
        with contextlib.closing(open_database(self.home)) as connection:
            return runs_of(connection, 1)

    def bakeoffs(self) -> list[BakeoffBlock]:
        with contextlib.closing(open_database(self.home)) as connection:
            return bakeoffs_of(connection, 1)

    def job(self, job_id: int) -> JobRow:
        with contextlib.closing(open_database(self.home)) as connection:
            return get_job(connection, job_id)

    def arms(self) -> dict[str, ArmEvidence]:
        """By model."""
        (task,) = self.tournament.shown().tasks
        return {arm.model: arm for arm in task.evidence.arms}

    def finals(self, model: str) -> list[JobRow]:
        key = self.arms()[model].key
        return [self.job(run.job_id) for run in self.runs() if run.role == "final" and run.arm_key == key]

    def done(self) -> dict[int, tuple[int, bytes]]:
        """The attempts of each job that is done, and what it made."""
        jobs = [*(run.job_id for run in self.runs()), *(one.job_id for one in self.bakeoffs())]
        rows = {number: self.job(number) for number in jobs}
        return {
            number: (row.attempt, self.home.run_dir(number).result.read_bytes())
            for number, row in rows.items()
            if row.state == "done"
        }

    def bits(self) -> dict[str, float]:
        """Bits a byte of the trials, by arm, of those that ended well."""
        found = {}
        for run in self.runs():
            held_out = ((self.job(run.job_id).result or {}).get("summary") or {}).get("held_out")
            if run.role == "trial" and held_out:
                found[run.arm_key] = held_out["loss"] * held_out["tokens"] / held_out["bytes"]
        return found

    def as_made(self, *models: str) -> None:
        """These arms score what their models can reach, with each seed."""
        arms = self.arms()
        for model in models:
            reach = PASS_AFTER["kept"][MODELS.index(model)] / INPUTS
            means = arms[model].scores["content"].values.mean(axis=1)
            assert arms[model].end == "measured" and means.tolist() == pytest.approx([reach] * len(means)), model


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Night]:
    with tiny_tournament(tmp_path_factory.mktemp("night"), MODELS[:5], save_steps=4) as tournament:
        yield Night(tournament)


def weights(night: Night, model: str) -> Path:
    return night.home.root.parent / "models" / model / "model.safetensors"


def test_a_night_that_is_killed_at_many_points(night: Night) -> None:
    queued = night.tournament.run(**NIGHT)
    assert [run.role for run in queued.runs] == ["trial"] * 4 + ["final"] * 4
    assert [one.job_id for one in queued.races] == [5] and len(queued.bakeoffs) == 1
    # The model of one arm is spoilt once all is queued.
    weights(night, ELM).rename(weights(night, ELM).with_suffix(".aside"))
    weights(night, ELM).write_bytes(b"spoilt")
    night.queue.launcher.holds = {job: hold for job, (hold, _) in POINTS.items()}
    night.work()
    assert sorted(night.gone) == ["kill"] * 2 + ["restart"] * 5 + ["runner"]
    assert [job.state for job in night.finals(ELM)] == ["failed"]
    killed = [job for job in (6, 7, 8) if night.job(job).state == "failed"]
    night.retry()
    for job in killed:
        steps = losses(night.home.run_dir(job), 2)
        assert list(steps) == list(range(1, RECIPE["steps"] + 1))
        # From the checkpoint of step 8 on: nothing is trained twice but what was not kept.
        assert next(one["step"] for one in events(night.home.run_dir(job), 2, "step")) == 9


def test_the_race_left_out_the_last_one_and_the_failed_arm_cost_no_other_anything(night: Night) -> None:
    arms, bits = night.arms(), night.bits()
    raced = {arms[model].key: model for model in (ASH, BIRCH, CEDAR)}
    assert set(bits) == set(raced)
    last = raced[max(bits, key=lambda arm: bits[arm])]
    assert {model: arm.end for model, arm in arms.items() if arm.end != "measured"} == {last: "censored", ELM: "failed"}
    night.as_made(*set(raced.values()) - {last})
    left_out = read_json(night.home.run_dir(night.bakeoffs()[-1].job_id).result)["summary"]["left_out"]
    assert sorted(one["state"] for one in left_out) == ["bad_model", "censored", "failed"]


@pytest.mark.parametrize(
    ("said", "more"),
    [
        ({"seeds": 2}, ["final"] * 3),
        ({"seeds": 2, "vary": {"model": [ASH, BIRCH, CEDAR, ELM, FIR]}}, ["trial", "final", "final"]),
    ],
)
def test_an_extension_does_nothing_again(night: Night, said: dict[str, Any], more: list[str]) -> None:
    """By a seed, then by a model. The arm whose model is spoilt is left out meanwhile."""
    before, ends = night.done(), {model: arm.end for model, arm in night.arms().items()}
    queued = night.tournament.run(**{**NIGHT, **said})
    assert [run.role for run in queued.runs] == more
    night.work()
    after = night.done()
    assert {job: after[job] for job in before} == before, "as it was, with as many attempts"
    assert {model: night.arms()[model].end for model in ends} == ends
    assert len({run.key for run in night.runs()}) == len(night.runs())
    asked = len(night.bakeoffs())
    again = night.tournament.run()
    assert again.runs == () and again.bakeoffs == () and len(night.bakeoffs()) == asked


def test_what_failed_is_made_up_for_once_it_can_be(night: Night) -> None:
    weights(night, ELM).with_suffix(".aside").replace(weights(night, ELM))
    before = night.done()
    night.retry()
    after = night.done()
    assert {job: after[job] for job in before} == before
    assert not [run for run in night.runs() if night.job(run.job_id).state != "done"]
    arms = night.arms()
    assert {arm.end for arm in arms.values()} == {"measured", "censored"}
    night.as_made(*(model for model, arm in arms.items() if arm.end == "measured"))
    assert all(len(arm.seeds) == 2 for arm in arms.values() if arm.end == "measured")
    # One answer of each candidate to each input, however many bake-offs there were and whatever befell them.
    run = night.home.run_dir(night.bakeoffs()[-1].job_id)
    answers = [(one.candidate, one.key) for one in read_answers(run.answers)]
    measured = sum(arm.end == "measured" for arm in arms.values())
    assert len(set(answers)) == len(answers) == INPUTS * (len(arms) + 2 * measured)
    again = night.tournament.run()
    assert again.runs == () and again.bakeoffs == () and again.lacking == ()


def test_a_larger_keep_trains_those_that_it_lets_go_on_and_nothing_again(night: Night) -> None:
    before = {run.key: run.job_id for run in night.runs()}
    done, ends = night.done(), {arm.key: arm.end for arm in night.arms().values()}
    queued = night.tournament.run(**{**NIGHT, "seeds": 2, "vary": {"model": [*MODELS[:5]]}, "race": {"keep": 5}})
    stopped = {key for key, end in ends.items() if end == "censored"}
    assert stopped and {run.arm_key for run in queued.runs} == stopped
    assert [run.role for run in queued.runs] == ["final"] * 2 * len(stopped) and len(queued.bakeoffs) == 2
    night.work()
    after = night.done()
    kept = [job for key, job in before.items() if key not in {run.key for run in queued.runs}]
    assert {job: after[job] for job in kept} == {job: done[job] for job in kept}, "as it was, with as many attempts"
    assert {arm.end for arm in night.arms().values()} == {"measured"}
    night.as_made(*MODELS[:5])
    again = night.tournament.run()
    assert again.runs == again.races == again.bakeoffs == () == again.lacking
