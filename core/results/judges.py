"""What is stored of the judges of a bake-off: the verdicts that its scores rest on, and how far they can be believed."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from core.bakeoff.judges import JudgeAgreement, judge_agreements, marks_by_answer
from core.config.golden import GoldenInput
from core.config.task import Task
from core.jobfile.bakeoff import BakeoffSpec
from core.jobfile.kin import Kin, kin_of
from core.scoring.to_judge import judge_checks
from core.scoring.verdicts import NO_VERDICTS, VerdictBook, book_of
from core.store.marks import list_marks
from core.store.verdicts import list_verdicts


def stored_book(connection: sqlite3.Connection, job_id: int, task: Task) -> VerdictBook:
    """The verdicts that the checks of a task read. Nobody is asked."""
    if not judge_checks(task):
        return NO_VERDICTS
    return book_of(list_verdicts(connection, bakeoff_job_id=job_id, task=task.name))


def stored_agreements(
    connection: sqlite3.Connection,
    job_id: int,
    project_id: str,
    spec: BakeoffSpec,
    task: Task,
    inputs: Sequence[GoldenInput],
) -> tuple[JudgeAgreement, ...]:
    """How far each judge of a task can be believed, from its verdicts and from the marks of the project."""
    if not judge_checks(task):
        return ()
    verdicts = list_verdicts(connection, bakeoff_job_id=job_id, task=task.name)
    marks = list_marks(connection, project_id, task.name)
    by_answer = marks_by_answer((one.input_sha256, one.input_id, one.answer_sha256, one.value) for one in marks)
    kin: dict[str, Kin] = {judge.name: kin_of(judge, spec.candidates) for judge in spec.judges}
    return judge_agreements(task, inputs, verdicts, by_answer, kin)
