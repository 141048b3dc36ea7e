"""Queueing a merge: which adapter, in which format, and whether that was merged already."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from core.config.model import WeightFormat
from core.config.project import Project
from core.errors import InputError
from core.home import Home
from core.jobfile.merge import MergeSpec
from core.jobfile.spec import JobFile
from core.own_paths import read_result
from core.store.database import open_database
from core.store.jobs import RETRYABLE, JobRow, get_job
from core.submission.candidates import of_job
from core.submission.enqueue import store


@dataclass(frozen=True)
class EarlierMerge:
    """A merge of the same adapter in the same format: its job, and where the result lies once it is done."""

    job: JobRow
    path: Path | None

    @property
    def words(self) -> str:
        """`already merged as job 7: /…/merged`, or that the job is still in the queue."""
        if self.path is not None:
            return f"already merged as job {self.job.id}: {self.path}"
        return f"job {self.job.id} already makes this merge: {self.job.state}"


def submit_merge(
    home: Home, project: Project, train_job: int, dtype: WeightFormat = "bf16", *, again: bool = False, author: str
) -> JobRow:
    """Queue the merging of a training job's adapter into its base model, in fp32, written as `dtype`.

    Raises `InputError` (`already_merged`) where that was done or is being done, unless it is asked for `again`.
    """
    with closing(open_database(home)) as connection:
        candidate = of_job(home, connection, train_job, "adapter", f"job:{train_job}")
        task = get_job(connection, train_job).task
        earlier = None if again else earlier_merge(home, connection, train_job, dtype)
    if earlier is not None:
        raise InputError(
            earlier.words, code="already_merged", remedy=f"`bakehouse export {train_job} --again` makes another"
        )
    spec = MergeSpec(adapter=f"job:{train_job}", model=candidate.model, dtype=dtype, task=task)
    return store(home, project, spec, author=author)


def earlier_merge(
    home: Home, connection: sqlite3.Connection, train_job: int, dtype: WeightFormat
) -> EarlierMerge | None:
    """The newest merge of a training's adapter in this format that is done and has its files, or is still to end."""
    rows = connection.execute(
        "SELECT id FROM jobs WHERE kind = 'merge' AND source = ? ORDER BY id DESC", [f"job:{train_job}"]
    ).fetchall()
    for job in (get_job(connection, row["id"]) for row in rows):
        if job.state in RETRYABLE:
            continue
        run = home.run_dir(job.id)
        try:
            spec = JobFile.load(run).spec
        except InputError:
            continue
        if not isinstance(spec, MergeSpec) or spec.dtype != dtype:
            continue
        if job.state != "done":
            return EarlierMerge(job, None)
        places = [Path(item["path"]) for item in (read_result(run) or {}).get("artefacts", [])]
        if places and places[0].is_dir():
            return EarlierMerge(job, places[0])
    return None
