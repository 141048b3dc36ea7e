"""What a training that has ended took: memory, time, energy; and how large its model is."""

from __future__ import annotations

import sqlite3
from typing import Any

from core.errors import BakehouseError
from core.experiments.evidence import RunCost
from core.home import Home
from core.jobfile.spec import JobFile
from core.jobfile.train import TrainSpec
from core.models.files import parameter_count
from core.store.attempts import list_attempts
from core.store.jobs import JobRow
from core.telemetry.run_record import stored_summary


def run_cost(connection: sqlite3.Connection, seed: int, job: JobRow) -> RunCost:
    """Of a training that is done. Time and energy are those of all its attempts: what a kill cost was spent."""
    summary: dict[str, Any] = (job.result or {}).get("summary") or {}
    attempts = list_attempts(connection, job.id)
    ended = [one for one in attempts if one.ended_at is not None]
    joules = [
        figures.energy_joules
        for one in attempts
        if (figures := stored_summary(one.telemetry)) is not None and figures.energy_joules is not None
    ]
    return RunCost(
        seed=seed,
        job_id=job.id,
        peak_bytes=summary.get("peak_memory_bytes"),
        seconds=sum(one.ended_at - one.created_at for one in ended if one.ended_at is not None) if ended else None,
        seconds_a_step=summary.get("seconds_per_step"),
        joules=sum(joules) if joules else None,
    )


def base_parameters(home: Home, job: JobRow) -> int | None:
    """Parameters of the base model of a training; None where its folder was cleaned."""
    try:
        spec = JobFile.load(home.run_dir(job.id)).spec
    except BakehouseError:
        return None
    if not isinstance(spec, TrainSpec):
        return None
    return spec.model.parameters or parameter_count(home, spec.model) or None
