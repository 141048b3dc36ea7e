"""Which jobs have answers that a person can mark."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import asdict, dataclass
from typing import Any

from core.config.project import Project
from core.config.task import Task
from core.errors import BakehouseError
from core.home import Home
from core.jobfile.kinds import KINDS
from core.marking.additions import golden_text
from core.marking.answered import AnsweredJob, answered_job
from core.marking.measured import Scores, measured_scores, newest_pair, scored_here
from core.marking.needs import Needs, needs


@dataclass(frozen=True)
class MarkableJob:
    """A job with answers to inputs of a task; `drafts`: to inputs that are no golden inputs yet."""

    job_id: int
    title: str
    state: str
    answers: int
    drafts: bool

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def markable_jobs(connection: sqlite3.Connection, project_id: str, task: str, most: int = 10) -> list[MarkableJob]:
    """The newest jobs of a project that have answers to a task's inputs, drafts first."""
    kinds = [kind.name for kind in KINDS.values() if kind.has_answers]
    rows = connection.execute(
        f"""
        SELECT jobs.id, title, state, kind, count(*) AS answers FROM jobs JOIN answers ON answers.job_id = jobs.id
        WHERE project_id = ? AND answers.task = ? AND kind IN ({", ".join("?" * len(kinds))})
        GROUP BY jobs.id ORDER BY kind = 'drafts' DESC, jobs.id DESC LIMIT ?
        """,
        [project_id, task, *kinds, most],
    )
    return [MarkableJob(row["id"], row["title"], row["state"], row["answers"], row["kind"] == "drafts") for row in rows]


def needs_of_task(
    home: Home,
    connection: sqlite3.Connection,
    project: Project,
    task: Task,
    candidates: tuple[str, str] | None = None,
    difference: float | None = None,
) -> Needs:
    """How many inputs of a task are missing, from all that is stored of two candidates: those named, else those that were
    measured last. The newest bake-off with both goes first, then the answers that were marked."""
    drafts: list[AnsweredJob] = []
    for one in markable_jobs(connection, project.id, task.name):
        # Of a job whose files were cleaned away nobody knows any more what it measured.
        with contextlib.suppress(BakehouseError):
            if one.drafts:
                drafts.append(answered_job(home, connection, project, one.job_id, task.name))
    names = candidates or newest_pair(home, connection, project, task)
    if names is None and drafts:
        names = drafts[0].pair_of(None)  # a set of drafts has two candidates at least
    golden = golden_text(project, task).inputs
    scores: list[Scores] = []
    if names is not None:
        measured = measured_scores(home, connection, project, task, names)
        scores += [] if measured is None else [measured]
        scores += [scored_here(job, names, golden) for job in drafts if set(names) <= set(job.candidates)]
    return needs(task, golden, names or ("", ""), scores, difference)
