"""Which training a candidate comes from, through all that was made of its adapter."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from core.bakeoff.leaderboard import Leaderboard
from core.bakeoff.matrix import Matrix, build_matrix
from core.errors import BakehouseError
from core.home import Home
from core.jobfile.as_done import spec_as_done
from core.jobfile.bakeoff import BakeoffSpec, CandidateSpec
from core.jobfile.references import parse_reference
from core.jobfile.train import TrainSpec
from core.results.load import StoredBakeoff
from core.store.jobs import JobRow, get_job


def training_of(home: Home, candidate: CandidateSpec) -> tuple[int, TrainSpec] | None:
    """(job, what it was told) of a candidate that a job of this home trained; None for any other. Raises `InputError`."""
    return training_behind(home, candidate.made_ref)


def training_behind(home: Home, reference: str | None) -> tuple[int, TrainSpec] | None:
    """The same of what a job made or is to make (`job:12/gguf`). Raises `InputError`."""
    made_by = parse_reference(reference)
    # What was made of an adapter, such as a merged model, leads to the training by what each job on the way took.
    while made_by is not None:
        spec = spec_as_done(home.run_dir(made_by.job_id))
        if isinstance(spec, TrainSpec):
            return made_by.job_id, spec
        before = parse_reference(spec.columns.source)
        # A job takes what an older one makes; anything else is not a job file of ours.
        made_by = before if before is not None and before.job_id < made_by.job_id else None
    return None


def training_jobs(home: Home, connection: sqlite3.Connection, spec: BakeoffSpec) -> dict[str, JobRow]:
    """The trainings by the name of their candidate; those whose files were cleaned away are left out."""
    found: dict[str, JobRow] = {}
    for candidate in spec.candidates:
        try:
            trained = training_of(home, candidate)
            if trained is not None:
                found[candidate.name] = get_job(connection, trained[0])
        except (BakehouseError, OSError):
            continue
    return found


def bakeoff_matrix(home: Home, stored: StoredBakeoff, boards: Mapping[str, Leaderboard]) -> Matrix | None:
    """The matrix of a bake-off, with what tuning for one task has cost at the others; None where there is one task."""
    if len(boards) < 2:
        return None
    plain = [one for one in stored.spec.candidates if one.form == "base" and one.variant.is_plain]
    bases = {one.model.name: one.name for one in plain if one.model is not None}
    trained_for: dict[str, str] = {}
    trained_from: dict[str, str] = {}
    for candidate in stored.spec.candidates:
        try:
            trained = training_of(home, candidate)
        except (BakehouseError, OSError):
            continue  # its files were cleaned away
        if trained is not None and trained[1].model.name in bases:
            trained_for[candidate.name] = trained[1].task.name
            trained_from[candidate.name] = bases[trained[1].model.name]
    return build_matrix(boards, incumbent=stored.spec.incumbent, trained_for=trained_for, bases=trained_from)
