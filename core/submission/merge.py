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
from core.jobfile.references import parse_reference
from core.jobfile.spec import JobFile
from core.own_paths import read_result
from core.store.database import open_database
from core.store.jobs import RETRYABLE, JobRow, get_job
from core.submission.candidates import of_job, of_path
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
    home: Home, project: Project, adapter: str, dtype: WeightFormat = "bf16", *, again: bool = False, author: str
) -> JobRow:
    """Queue the merging of an adapter into its base model, in fp32, written as `dtype`.

    `adapter` is `job:12`, or the folder of an adapter of any tool, whose own configuration names its base. Raises
    `InputError` (`already_merged`) where that was done or is being done, unless it is asked for `again`.
    """
    with closing(open_database(home)) as connection:
        if (job := parse_reference(adapter)) is not None:
            model = of_job(home, connection, job.job_id, "adapter", adapter).model
            task = get_job(connection, job.job_id).task
        else:
            candidate = of_path(home, project, adapter)
            if candidate.form != "adapter" or candidate.path is None:
                raise InputError("this is a model, no adapter: nothing is merged", code="no_adapter", file=adapter)
            model, task, adapter = candidate.model, None, candidate.path
        earlier = None if again else earlier_merge(home, connection, adapter, dtype)
    if earlier is not None:
        raise InputError(earlier.words, code="already_merged", remedy="`bakehouse export` with --again makes another")
    return store(home, project, MergeSpec(adapter=adapter, model=model, dtype=dtype, task=task), author=author)


def earlier_merge(home: Home, connection: sqlite3.Connection, adapter: str, dtype: WeightFormat) -> EarlierMerge | None:
    """The newest merge of an adapter in this format that is done and has its files, or is still to end.

    A folder may hold another adapter by now: only merges of a job's adapter are found.
    """
    if parse_reference(adapter) is None:
        return None
    rows = connection.execute(
        "SELECT id FROM jobs WHERE kind = 'merge' AND source = ? ORDER BY id DESC", [adapter]
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
