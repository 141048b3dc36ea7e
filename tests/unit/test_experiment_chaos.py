"""Whatever becomes of submissions and jobs, in whatever order: nothing of an experiment is queued twice, nothing is lost."""

from __future__ import annotations

import sqlite3
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from core.experiment_submission.plan import revived
from core.experiment_submission.queueing import submit_experiment
from core.experiments.arms import expand
from core.jobfile.bakeoff import BakeoffSpec
from core.jobfile.references import parse_reference
from core.jobfile.spec import JobFile
from core.jobfile.train import TrainSpec
from core.store.database import transaction
from core.store.experiments import stopped_finals
from core.store.jobs import RETRYABLE, get_job, list_jobs
from tests.support.depth import example_count
from tests.support.lab import Lab, lab
from tests.support.stored import step

ASKED: tuple[dict[str, Any], ...] = (
    {"seeds": 1},
    {"seeds": 2, "tasks": ["judge", "tidy"]},
    {"seeds": [0, 1], "vary": {"model": ["other", "small"]}},
    {"seeds": 2, "learning_rates": [1e-3, 1e-4], "race": {"keep": 1}},
    {"seeds": 2, "race": {"keep": 1}},
    {"seeds": 2, "race": {"keep": 2}, "vary": {"model": ["small", "large", "other"]}},
    {"seeds": [1, 0], "measure": "Q8_0", "vary": {"model": ["small"]}},
)
"""What is asked for, one after the other and in any order; all of it is one experiment."""


class CutError(Exception):
    """The submission comes to its end here."""


class Chaos:
    """One home in which everything happens that may; `asked` is what was asked for last."""

    def __init__(self, home: Lab) -> None:
        self.home, self.asked = home, 0
        home.write(**ASKED[0])

    def ask(self, asked: int) -> None:
        self.asked = asked
        self.home.write(**ASKED[asked])
        self.home.run()

    def ask_at_once(self, asked: int) -> None:
        """Two plans are made before either is queued."""
        self.asked = asked
        self.home.write(**ASKED[asked])
        for plan in [self.home.plan(), self.home.plan()]:
            submit_experiment(self.home.home, self.home.project, plan, author="tester")

    def cut(self, asked: int, at: int) -> None:
        """A submission that ends in the middle, before or after it has written the file of its `at`-th job."""
        self.asked = asked
        self.home.write(**ASKED[asked])
        before = self._jobs()
        written = 0
        save = JobFile.save

        def until(file: JobFile, run: Any, *more: Any, **how: Any) -> None:
            nonlocal written
            written += 1
            if written * 2 >= at:
                if written * 2 > at:
                    save(file, run, *more, **how)
                raise CutError
            save(file, run, *more, **how)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(JobFile, "save", until)
            try:
                self.home.run()
            except CutError:
                assert self._jobs() == before, "a part of it stayed"

    def end(self, place: int, state: str) -> None:
        """A job that waits ends; of a bake-off that is done, what was not trained is left out."""
        with self.home.database() as connection:
            waiting = [job for job in list_jobs(connection, 1000) if job.state == "waiting"]
        if not waiting:
            return
        job = waiting[place % len(waiting)]
        summary: dict[str, Any] = {}
        spec = self.home.spec(job.id)
        if state == "stopped" and isinstance(spec, TrainSpec) and spec.choice is not None and spec.choice.keep:
            summary["censored"] = {"rank": spec.choice.keep + 1, "of": 3, "keep": spec.choice.keep}
        if job.kind == "bakeoff" and state != "failed":
            summary["left_out"] = [
                {"candidate": name, "job": number, "state": "failed"}
                for name, number in self._candidates(job.id).items()
                if number in self._jobs("failed")
            ]
        self.home.end(job.id, "failed" if state == "failed" else "done", summary)

    def retry(self, place: int) -> None:
        with self.home.database() as connection:
            ended = [job for job in list_jobs(connection, 1000) if job.state in RETRYABLE]
            if ended:
                step(connection, ended[place % len(ended)].id, "waiting")

    def remove(self, place: int) -> None:
        """A person removes a run."""
        runs = self.home.runs()
        if not runs:
            return
        job_id = runs[place % len(runs)].job_id
        with self.home.database() as connection, transaction(connection):
            connection.execute("DELETE FROM dependencies WHERE needs_id = ?", [job_id])
            connection.execute("DELETE FROM jobs WHERE id = ?", [job_id])

    def check(self) -> None:
        """What holds at any time."""
        runs, bakeoffs = self.home.runs(), self.home.bakeoffs()
        jobs = Counter([*(run.job_id for run in runs), *(one.job_id for one in bakeoffs)])
        assert not [job for job, count in jobs.items() if count > 1], "a job is one thing"
        assert len({run.key for run in runs}) == len(runs)
        # Files that are measured have an untrained model beside them, which is of no arm.
        own = {job for job in self._jobs() if job in self._of_kinds("train", "bakeoff", "merge")}
        gone_on = {job for job in own - set(jobs) if self._was_stopped(job)}
        assert own - gone_on == set(jobs) & own and set(jobs) <= self._jobs(), (
            "a job is of no experiment, or a run has none"
        )
        for job in jobs:
            assert JobFile.load(self.home.home.run_dir(job)).id == job

    def check_whole(self) -> None:
        """What holds once the experiment was asked for: all of it is there, and is asked in a bake-off."""
        self.home.run()
        experiment = self.home.project.experiment("e")
        there = {run.key: run.job_id for run in self.home.runs()}
        trials = {(run.task, run.arm_key, run.lr) for run in self.home.runs() if run.role == "trial"}
        measured = "final" if experiment.measure == "adapter" else "quantize"
        wanted: dict[str, set[int]] = {}
        for run in expand(experiment, self.home.project).runs:
            if run.role == "trial":
                assert (run.task, run.arm.key, run.lr) in trials
                continue
            assert run.key in there, "a run is missing"
            if run.role == measured:
                wanted.setdefault(run.task, set()).add(there[run.key])
        for task, jobs in wanted.items():
            assert self._is_asked(task, jobs), "what was trained is asked by nobody"
        count = len(self._jobs())
        self.home.run()
        assert len(self._jobs()) == count, "it was queued twice"
        keep = None if experiment.race is None else experiment.race.keep
        with self.home.database() as connection:
            assert not revived(stopped_finals(connection, 1), keep), (
                "what was stopped and goes on by the rule of now was not queued"
            )

    def _was_stopped(self, job_id: int) -> bool:
        with self.home.database() as connection:
            return get_job(connection, job_id).is_censored

    def _is_asked(self, task: str, jobs: set[int]) -> bool:
        with self.home.database() as connection:
            rows = {job.id: job for job in list_jobs(connection, 1000)}
        for one in self.home.bakeoffs():
            asked = self._candidates(one.job_id)
            if one.task != task or not jobs <= set(asked.values()):
                continue
            summary = (rows[one.job_id].result or {}).get("summary", {})
            lacking = {left["job"] for left in summary.get("left_out", ())}
            if all(job not in lacking or rows[job].state in RETRYABLE for job in jobs):
                return True
        return False

    def _candidates(self, job_id: int) -> dict[str, int]:
        spec = self.home.spec(job_id)
        assert isinstance(spec, BakeoffSpec)
        found = {one.name: parse_reference(one.ref) for one in spec.candidates}
        return {name: made_by.job_id for name, made_by in found.items() if made_by is not None}

    def _jobs(self, state: str | None = None) -> set[int]:
        with self.home.database() as connection:
            return {
                row["id"] for row in connection.execute("SELECT id, state FROM jobs") if state in (None, row["state"])
            }

    def _of_kinds(self, *kinds: str) -> set[int]:
        with self.home.database() as connection:
            rows: list[sqlite3.Row] = connection.execute("SELECT id, kind FROM jobs").fetchall()
        return {row["id"] for row in rows if row["kind"] in kinds}


places = st.integers(0, 50)
asked = st.integers(0, len(ASKED) - 1)
Act = tuple[str, tuple[Any, ...]]
acts: st.SearchStrategy[Act] = st.one_of(
    st.tuples(st.just("ask"), st.tuples(asked)),
    st.tuples(st.just("ask_at_once"), st.tuples(asked)),
    st.tuples(st.just("cut"), st.tuples(asked, st.integers(1, 24))),
    st.tuples(st.just("end"), st.tuples(places, st.sampled_from(["done", "stopped", "failed"]))),
    st.tuples(st.just("end"), st.tuples(places, st.sampled_from(["done", "done", "failed"]))),
    st.tuples(st.just("retry"), st.tuples(places)),
    st.tuples(st.just("remove"), st.tuples(places)),
)


@pytest.fixture(scope="module")
def home() -> Iterator[Callable[[], Lab]]:
    """A fresh home at each call, in one project: the files of the models are written once."""
    with tempfile.TemporaryDirectory(prefix="bakehouse-tests-") as folder, pytest.MonkeyPatch.context() as patched:
        made = lab(Path(folder), patched)
        pristine = made.home.database.read_bytes()
        count = 0

        def fresh_home() -> Lab:
            nonlocal count
            count += 1
            home = type(made.home)(Path(folder) / f"home-{count}").create()
            home.database.write_bytes(pristine)
            return Lab(home, made.project)

        yield fresh_home


@hypothesis_settings(max_examples=example_count(12))
@given(st.lists(acts, min_size=1, max_size=12))
def test_nothing_is_queued_twice_and_nothing_is_lost(home: Callable[[], Lab], done: list[Act]) -> None:
    chaos = Chaos(home())
    for name, told in done:
        getattr(chaos, name)(*told)
        chaos.check()
    chaos.check_whole()
    chaos.check()
