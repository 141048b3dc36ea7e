"""How long an experiment still takes, by jobs whose times are known."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from core.experiments.measured import ExperimentRuns
from core.experiments.shown import shown_experiment
from core.experiments.time_left import ExperimentTimeLeft, time_left
from core.progress import Progress
from core.store.database import open_database
from core.wording.experiments import left_words
from tests.support.stored_experiment import LARGE, NAME, SMALL, home_with_experiment

TRAINING = {f"{SMALL} bf16": 100.0, f"{SMALL} 4-bit": 120.0, f"{LARGE} 4-bit": 300.0}
BAKEOFF = 90.0
TUNED_SHARE = 3 * 1.0 / (3 * 1.0 + 2 * 3.0)
"""Of three tuned candidates at a second an answer, and two untrained ones at three."""


def runs(folder: Path, *, blocks: int, trained: Mapping[str, float] = TRAINING) -> ExperimentRuns:
    """The stored experiment with these seconds of its trainings that are done, and of its bake-offs."""
    home, project = home_with_experiment(folder, blocks=blocks)
    with contextlib.closing(open_database(home)) as connection:
        found = shown_experiment(home, connection, project, NAME).runs
    names = {arm.key: arm.name for arm in found.stored.arms}
    jobs = dict(found.jobs)
    for run in found.runs:
        if (job := jobs[run.job_id]).state == "done":
            seconds = trained.get(names[run.arm_key])
            ended = None if seconds is None else 1000.0 + seconds
            jobs[job.id] = replace(job, attempt=1, started_at=1000.0, ended_at=ended)
    for one in found.bakeoffs:
        if (job := jobs[one.job_id]).state == "done":
            rows = [{"ref": "job:1/adapter", "seconds_per_answer": 1.0, "answers": 24}] * 3
            rows += [{"ref": None, "seconds_per_answer": 3.0, "answers": 24}] * 2
            told = {"summary": {"candidates": rows}}
            jobs[job.id] = replace(job, attempt=1, started_at=0.0, ended_at=BAKEOFF, result=told)
    return replace(found, jobs=jobs)


def test_what_is_left_takes_what_its_own_jobs_took(tmp_path: Path) -> None:
    """A bake-off behind the first block has no untrained models to ask."""
    left = time_left(runs(tmp_path, blocks=1))
    assert left.unknown == 0
    assert left.seconds == pytest.approx(2 * sum(TRAINING.values()) + 2 * BAKEOFF * TUNED_SHARE)
    assert left_words(left) == "about 18 min left"


def test_what_runs_counts_by_what_is_left_of_it(tmp_path: Path) -> None:
    found = runs(tmp_path, blocks=1)
    whole = time_left(found)
    (running,) = (job for job in found.jobs.values() if job.state == "running")
    halfway = replace(running, progress=Progress(done=20, total=40))
    half = time_left(replace(found, jobs={**found.jobs, running.id: halfway}))
    assert whole.seconds - half.seconds == pytest.approx(TRAINING[f"{SMALL} bf16"] / 2)


def test_jobs_of_which_nothing_is_known_make_it_a_least(tmp_path: Path) -> None:
    left = time_left(runs(tmp_path, blocks=1, trained={f"{SMALL} bf16": 100.0}))
    assert left.unknown == 4 and left.seconds == pytest.approx(2 * 100.0 + 2 * BAKEOFF * TUNED_SHARE)
    assert left_words(left) == "at least 4 min left"


def test_nothing_is_said_before_anything_was_measured_and_when_all_has_ended(tmp_path: Path) -> None:
    before = time_left(runs(tmp_path / "before", blocks=0))
    assert before == ExperimentTimeLeft(0.0, 12) and left_words(before) == ""
    done = time_left(runs(tmp_path / "done", blocks=3))
    assert done == ExperimentTimeLeft(0.0, 0) and left_words(done) == ""


def test_a_training_that_was_started_twice_tells_no_time(tmp_path: Path) -> None:
    found = runs(tmp_path, blocks=1)
    jobs = {number: replace(job, attempt=2) if job.kind == "train" else job for number, job in found.jobs.items()}
    assert time_left(replace(found, jobs=jobs)).unknown == 6
