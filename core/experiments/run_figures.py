"""What a training that has ended took: memory, time, energy; and how much of its model it trained."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
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


def run_cost(home: Home, connection: sqlite3.Connection, seed: int, job: JobRow) -> RunCost:
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
        seconds_a_step=summary.get("seconds_per_step") or _step_seconds(home, job),
        joules=sum(joules) if joules else None,
    )


def trained_parameters(home: Home, jobs: Sequence[JobRow]) -> tuple[int | None, int | None]:
    """Parameters of the base model and of the adapter, of the first of these trainings that tells; None where none does."""
    for job in jobs:
        trainable = ((job.result or {}).get("summary") or {}).get("trainable_parameters")
        try:
            spec = JobFile.load(home.run_dir(job.id)).spec
        except BakehouseError:
            continue  # its folder was cleaned
        if isinstance(spec, TrainSpec):
            return spec.model.parameters or parameter_count(home, spec.model) or None, trainable
    return None, None


def _step_seconds(home: Home, job: JobRow) -> float | None:
    """The mean step of the last attempt by its events, of a training that an older version ran."""
    steps = [tokens / speed for tokens, speed in _steps(home, job) if tokens and speed]
    return sum(steps) / len(steps) if steps else None


def _steps(home: Home, job: JobRow) -> Iterator[tuple[int, float]]:
    file = home.run_dir(job.id).attempt(job.attempt).events
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            event = json.loads(line)
        except ValueError:
            continue  # a torn line
        if isinstance(event, dict) and event.get("kind") == "step":
            yield event.get("tokens") or 0, event.get("tokens_per_second") or 0.0
