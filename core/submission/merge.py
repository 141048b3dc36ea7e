"""Queueing a merge: which adapter, in which format, and whether that was merged already."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from core.config.project import Project
from core.errors import InputError
from core.home import Home
from core.jobfile.merge import MergeSpec, not_quantized
from core.jobfile.references import parse_reference
from core.jobfile.spec import JobFile
from core.jobfile.train import TrainSpec
from core.own_paths import read_result
from core.store.database import open_database
from core.store.jobs import RETRYABLE, JobRow, get_job
from core.submission.candidates import of_job, of_path
from core.submission.enqueue import store
from core.submission.wanted_export import WantedGguf, WantedMerge


@dataclass(frozen=True)
class EarlierMerge:
    """A merge that is just the wanted one: its job, and where the result lies once it is done."""

    job: JobRow
    path: Path | None

    @property
    def words(self) -> str:
        """`already merged as job 7: /…/merged`, or that the job is still in the queue."""
        if self.path is not None:
            return f"already merged as job {self.job.id}: {self.path}"
        return f"job {self.job.id} already makes this merge: {self.job.state}"


def submit_merge(home: Home, project: Project, wanted: WantedMerge, *, again: bool = False, author: str) -> JobRow:
    """Queue the merging of an adapter into its base model.

    The folder of an adapter may be any tool's: its own configuration names its base. Raises `InputError`: `already_merged`
    where that was done or is being done, unless it is asked for `again`; `not_quantized` where the adapter was trained on the
    base's own weights and is to be merged into others.
    """
    adapter = wanted.source
    with closing(open_database(home)) as connection:
        if (job := parse_reference(adapter)) is not None:
            model = of_job(home, connection, job.job_id, "adapter", adapter).model
            task = get_job(connection, job.job_id).task
            require_trained_weights(home, wanted)
        else:
            candidate = of_path(home, project, adapter)
            if candidate.form != "adapter" or candidate.path is None:
                raise InputError("this is a model, no adapter: nothing is merged", code="no_adapter", file=adapter)
            model, task, adapter = candidate.model, None, candidate.path
        earlier = None if again else earlier_merge(home, connection, replace(wanted, source=adapter))
    if earlier is not None:
        raise InputError(earlier.words, code="already_merged", remedy="`bakehouse export` with --again makes another")
    spec = MergeSpec(adapter=adapter, model=model, dtype=wanted.dtype, base_weights=wanted.base_weights, task=task)
    return store(home, project, spec, author=author)


def require_trained_weights(home: Home, wanted: WantedMerge | WantedGguf) -> None:
    """Refuse to merge a job's adapter into dequantized weights where it was trained on the original ones. `InputError`."""
    job = parse_reference(wanted.source)
    if wanted.base_weights == "original" or job is None:
        return
    spec = JobFile.load(home.run_dir(job.job_id)).spec
    if isinstance(spec, TrainSpec) and spec.recipe.hqq is None:
        raise not_quantized(wanted.source)


def earlier_merge(home: Home, connection: sqlite3.Connection, wanted: WantedMerge) -> EarlierMerge | None:
    """The newest merge that is just what is wanted and is done and has its files, or is still to end.

    A folder may hold another adapter by now: only merges of a job's adapter are found.
    """
    if parse_reference(wanted.source) is None:
        return None
    rows = connection.execute(
        "SELECT id FROM jobs WHERE kind = 'merge' AND source = ? ORDER BY id DESC", [wanted.source]
    ).fetchall()
    for job in (get_job(connection, row["id"]) for row in rows):
        if job.state in RETRYABLE:
            continue
        run = home.run_dir(job.id)
        try:
            spec = JobFile.load(run).spec
        except InputError:
            continue
        if not isinstance(spec, MergeSpec) or (spec.dtype, spec.base_weights) != (wanted.dtype, wanted.base_weights):
            continue
        if job.state != "done":
            return EarlierMerge(job, None)
        places = [Path(item["path"]) for item in (read_result(run) or {}).get("artefacts", [])]
        if places and places[0].is_dir():
            return EarlierMerge(job, places[0])
    return None
