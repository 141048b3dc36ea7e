"""Queueing checks for drift: which task of the fleet, what its alias was, and what it is held to."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from core.aliases.drift_due import DriftDue
from core.config.model import ModelEntry
from core.config.project import Project, shipped
from core.drift.outcome import NEW_BASELINES
from core.drift.smoke import read_smoke, smoke_file
from core.errors import BakehouseError
from core.fleet.verdict_scores import verdict_of
from core.home import Home
from core.jobfile.bakeoff import CandidateSpec, TaskUnderTest
from core.jobfile.deploy import DeploySpec
from core.jobfile.drift import CheckedVersion, DriftSpec, NotChecked, StoredVerdict
from core.jobfile.spec import InputFile, JobFile
from core.models.files import needs_pull
from core.served.record import read_record
from core.store.database import open_database
from core.store.drift import drift_checks
from core.store.fleet import Alias, AliasVersion, FleetTask
from core.store.jobs import JobRow
from core.submission.enqueue import store
from core.submission.input_store import golden_file, keep_content
from core.submission.server_candidates import of_home, of_server, require_server_of


@dataclass(frozen=True)
class AskedDrift:
    """What became of one task: its job, new or in the queue already, or why there is none."""

    due: DriftDue
    job: JobRow | None = None
    is_new: bool = False
    error: BakehouseError | None = None


def submit_drift(
    home: Home, wanted: list[DriftDue], *, full: bool = False, author: str, by_person: bool = True
) -> list[AskedDrift]:
    """Queue a check of each. One that is in the queue already stands for the new one, unless `full` is asked of it and it is
    not; what keeps one from being queued keeps no other. `by_person`: see `enqueue.store`."""
    found = []
    for one in wanted:
        try:
            project = project_of(one.task)
            with contextlib.closing(open_database(home)) as connection:
                spec = drift_spec(home, connection, project, one, full=full)
            job, is_new = _put(home, project, spec, one, author, by_person=by_person)
            found.append(AskedDrift(one, job, is_new))
        except BakehouseError as error:
            found.append(AskedDrift(one, error=error))
    return found


def _put(
    home: Home, project: Project, spec: DriftSpec, due: DriftDue, author: str, *, by_person: bool
) -> tuple[JobRow, bool]:
    """The job of a check, and whether it is new: who else asks for the same meanwhile gets the same one."""
    there: list[int] = []

    def in_the_queue(connection: sqlite3.Connection) -> int | None:
        checks = drift_checks(connection, due.version.id, due.task.project_id, due.task.task)
        there.extend(one.job.id for one in checks if one.is_open and (one.job.settings.get("full") or not spec.full))
        return there[0] if there else None

    job = store(home, project, spec, author=author, by_person=by_person, instead=in_the_queue)
    return job, not there


def project_of(task: FleetTask) -> Project:
    """The project that a task of the fleet is of. Raises `BakehouseError` where it is no longer there."""
    if task.project_id == shipped().id:
        return shipped()
    return Project.find(explicit=Path(task.project_root))


def drift_spec(
    home: Home, connection: sqlite3.Connection, project: Project, due: DriftDue, *, full: bool = False
) -> DriftSpec:
    """What the check is told. Raises `InputError` and `NotFoundError` for a task, golden inputs or a server that are gone."""
    version, task = due.version, due.task.task
    verdict = verdict_of(home, connection, version, due.task.project_id, task)
    asked = alias_candidate(home, project, due.alias)
    kept: StoredVerdict | None = None
    if verdict is not None:
        asked = asked.model_copy(update={"variant": verdict.candidate.variant})
        under_test, seed = verdict.under_test, verdict.seed
        kept = StoredVerdict(
            bakeoff=verdict.job_id,
            candidate=verdict.candidate.name,
            scores={part: dict(by_input) for part, by_input in verdict.scores.items()},
        )
    else:
        present = project.task(task)
        golden = golden_file(home, project, present, project.golden(present))
        under_test, seed = TaskUnderTest(task=present, golden=golden, repeats=present.repeats), 0
    model, why = _trained_model(home, version)
    baseline = _baseline(home, connection, due)
    return DriftSpec(
        version=CheckedVersion(
            alias_id=due.alias.id,
            version_id=version.id,
            number=version.number,
            digest=version.digest,
            weights=version.weights,
            template=version.template,
            server_version=version.server_version,
        ),
        asked=asked,
        under_test=under_test,
        seed=seed,
        model=model,
        not_checked=why,
        baseline=None if baseline is None else baseline[1],
        baseline_job=None if baseline is None else baseline[0],
        verdict=kept,
        full=full,
        due=[reason.code for reason in due.reasons],
        observed=due.observed,
        pattern_timeout_seconds=project.settings.bakeoff.pattern_timeout_seconds,
    )


def alias_candidate(home: Home, project: Project, alias: Alias) -> CandidateSpec:
    """An alias as a model that a job asks. Raises as `require_server_of`, `NotFoundError` for a served model that is gone."""
    if alias.is_served_here:
        return of_home(home, read_record(home, alias.name))
    require_server_of(project, alias)
    return of_server(project, alias.server, alias.name)


def _trained_model(home: Home, version: AliasVersion) -> tuple[ModelEntry | None, NotChecked | None]:
    """The base model whose tokenizer and template trained, by the job that deployed the version; else why it is not known.

    Nothing is fetched for a check: a model that is not on the disk is as good as none.
    """
    if version.deploy_job_id is None:
        return None, "no_lineage"
    try:
        spec = JobFile.load(home.run_dir(version.deploy_job_id)).spec
    except BakehouseError:
        return None, "no_lineage"
    if not isinstance(spec, DeploySpec):
        return None, "no_lineage"
    try:
        return (None, "no_model_files") if needs_pull(home, spec.model) else (spec.model, None)
    except BakehouseError:
        return None, "no_model_files"


def _baseline(home: Home, connection: sqlite3.Connection, due: DriftDue) -> tuple[int, InputFile] | None:
    """The job and a copy of the smoke answers that the next check is held to; None where there are none yet."""
    for check in drift_checks(connection, due.version.id, due.task.project_id, due.task.task):
        file = smoke_file(home.run_dir(check.job.id))
        if check.outcome in NEW_BASELINES and read_smoke(file):
            return check.job.id, keep_content(home, file.read_bytes(), file)
    return None
