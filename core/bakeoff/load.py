"""From what is stored of a bake-off to its leaderboard; and scoring what is stored anew."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from core.bakeoff.answers import Answer
from core.bakeoff.leaderboard import Leaderboard, build_leaderboard
from core.bakeoff.scoring import Score, score_answers
from core.config.golden import GoldenInput
from core.config.project import Project, shipped
from core.config.task import Task
from core.errors import InputError
from core.files import read_json
from core.home import Home
from core.jobfile.bakeoff import BakeoffSpec
from core.jobfile.kinds import kind_of
from core.jobfile.spec import JobFile
from core.store.database import transaction
from core.store.results import bakeoff_answers, bakeoff_scores, insert_scores


def bakeoff_file(home: Home, job_id: int) -> tuple[JobFile, BakeoffSpec]:
    """The job file of a bake-off. Raises `InputError` when the job is something else."""
    file = JobFile.load(home.run_dir(job_id))
    if not isinstance(file.spec, BakeoffSpec):
        raise InputError(f"job {job_id} is {kind_of(file.kind).noun}, not a bake-off", code="no_bakeoff")
    return file, file.spec


def golden_inputs(spec: BakeoffSpec) -> list[GoldenInput]:
    """The golden inputs as they were when the bake-off was submitted."""
    document = read_json(Path(spec.golden.path))
    if document is None:
        raise InputError("the copy of the golden inputs is gone", code="missing_input", file=spec.golden.path)
    return [GoldenInput.model_validate(item) for item in document]


def stored_leaderboard(
    home: Home, connection: sqlite3.Connection, job_id: int, task: Task | None = None
) -> Leaderboard:
    """The leaderboard of a bake-off, finished or not, under the task as it was submitted, or under `task`.

    Raises `NotFoundError` for an unknown bake-off.
    """
    answers = [Answer.from_json(document) for document in bakeoff_answers(connection, job_id)]
    _, spec = bakeoff_file(home, job_id)
    return build_leaderboard(
        task or spec.task,
        golden_inputs(spec),
        answers,
        [Score.from_json(document) for document in bakeoff_scores(connection, job_id)],
        spec.incumbent,
        candidates={candidate.name: candidate.form for candidate in spec.candidates},
        repeats=spec.repeats,
    )


def rescore(home: Home, connection: sqlite3.Connection, job_id: int) -> Task:
    """Score the stored answers with the checks that the task has now, and return that task.

    No model is run. The former scores stay: a score belongs to the definition of its check.
    """
    documents = bakeoff_answers(connection, job_id)
    file, spec = bakeoff_file(home, job_id)
    root = Path(file.project_root)
    project = shipped() if file.project_id == shipped().id else Project.find(explicit=root)
    task = project.task(spec.task.name)
    timeout = project.settings.bakeoff.pattern_timeout_seconds
    answers = [Answer.from_json(document) for document in documents]
    scores = score_answers(task, golden_inputs(spec), answers, timeout)
    with transaction(connection):
        insert_scores(connection, job_id, (score.to_json() for score in scores))
    return task
