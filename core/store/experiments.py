"""Experiments as they are stored: what was asked for, their arms, and which job is which run or bake-off of them."""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from core.errors import NotFoundError
from core.store.jobs import known_id

ExperimentKind = Literal["experiment", "tournament"]
RunRole = Literal["trial", "final", "merge", "convert", "quantize"]

# Every job of the experiment `:id`.
OF_EXPERIMENT = """
SELECT job_id FROM experiment_runs WHERE experiment_id = :id
UNION SELECT job_id FROM experiment_bakeoffs WHERE experiment_id = :id
UNION SELECT job_id FROM experiment_races WHERE experiment_id = :id
"""


Place = tuple[str, str, int]
"""Task, arm and seed: a training, and what is made of it."""


@dataclass(frozen=True)
class StoredArm:
    """An arm as it was when its runs were queued: `definition` has `model`, `weights`, `values`, `recipe`, `learning_rates`."""

    key: str
    name: str
    place: int
    definition: Mapping[str, Any]


@dataclass(frozen=True)
class StoredExperiment:
    """`definition` is what was asked for last, `arms` are all that it has ever had, in their order. Times in Unix seconds."""

    id: int
    name: str
    project_id: str
    kind: ExperimentKind
    definition: Mapping[str, Any]
    author: str
    created_at: float
    changed_at: float
    arms: tuple[StoredArm, ...]

    def arm(self, key: str) -> StoredArm | None:
        return next((arm for arm in self.arms if arm.key == key), None)


@dataclass(frozen=True)
class StoredRun:
    """Which job is a run; `lr` is that of a trial, None of every other role."""

    task: str
    arm_key: str
    role: RunRole
    seed: int
    lr: float | None
    job_id: int

    @property
    def key(self) -> tuple[str, str, RunRole, int, float | None]:
        """As `core.experiments.arms.ArmRun` has it."""
        return self.task, self.arm_key, self.role, self.seed, self.lr

    @property
    def place(self) -> Place:
        return self.task, self.arm_key, self.seed


@dataclass(frozen=True)
class BakeoffBlock:
    """The bake-off of a task over the first `block` blocks of seeds."""

    task: str
    block: int
    job_id: int


@dataclass(frozen=True)
class TrialRace:
    """The job that puts the arms in order at a task by their trials."""

    task: str
    job_id: int


def put_experiment(
    connection: sqlite3.Connection,
    *,
    name: str,
    project_id: str,
    kind: ExperimentKind,
    definition: Mapping[str, Any],
    author: str,
) -> int:
    """Keep what was asked for; where the project has an experiment of that name, it is that one. Its id. Call it in a
    transaction."""
    now = time.time()
    row = connection.execute(
        """
        INSERT INTO experiments (name, project_id, kind, definition, author, created_at, changed_at)
        VALUES (?, ?, ?, ?, ?, ?, ?)
        ON CONFLICT (project_id, name)
        DO UPDATE SET kind = excluded.kind, definition = excluded.definition, changed_at = excluded.changed_at
        RETURNING id
        """,
        [name, project_id, kind, json.dumps(dict(definition)), author, now, now],
    ).fetchone()
    return int(row["id"])


def put_arms(connection: sqlite3.Connection, experiment_id: int, arms: Sequence[StoredArm]) -> None:
    """Keep arms; one that is there gets its new name and place, and what it is stays. Call it in a transaction."""
    connection.executemany(
        """
        INSERT INTO experiment_arms (experiment_id, key, name, place, definition) VALUES (?, ?, ?, ?, ?)
        ON CONFLICT (experiment_id, key)
        DO UPDATE SET name = excluded.name, place = excluded.place, definition = excluded.definition
        """,
        [(experiment_id, arm.key, arm.name, arm.place, json.dumps(dict(arm.definition))) for arm in arms],
    )


def put_run(connection: sqlite3.Connection, experiment_id: int, run: StoredRun) -> None:
    """Keep which job is a run. `sqlite3.IntegrityError` where the run has a job already. Call it in a transaction."""
    connection.execute(
        """
        INSERT INTO experiment_runs (experiment_id, task, arm_key, role, seed, lr, job_id) VALUES (?, ?, ?, ?, ?, ?, ?)
        """,
        [experiment_id, run.task, run.arm_key, run.role, run.seed, run.lr, run.job_id],
    )


def forget_run(connection: sqlite3.Connection, experiment_id: int, run: StoredRun) -> None:
    """Let a run have no job any more; the job itself stays. Call it in a transaction."""
    connection.execute(
        "DELETE FROM experiment_runs WHERE experiment_id = ? AND job_id = ?", [experiment_id, run.job_id]
    )


def put_bakeoff(connection: sqlite3.Connection, experiment_id: int, bakeoff: BakeoffBlock) -> None:
    """Keep which job is a bake-off of an experiment. Call it in a transaction."""
    connection.execute(
        "INSERT INTO experiment_bakeoffs (experiment_id, task, block, job_id) VALUES (?, ?, ?, ?)",
        [experiment_id, bakeoff.task, bakeoff.block, bakeoff.job_id],
    )


def put_race(connection: sqlite3.Connection, experiment_id: int, race: TrialRace) -> None:
    """Keep which job is a race of an experiment. Call it in a transaction."""
    connection.execute(
        "INSERT INTO experiment_races (experiment_id, task, job_id) VALUES (?, ?, ?)",
        [experiment_id, race.task, race.job_id],
    )


def find_experiment(connection: sqlite3.Connection, project_id: str, name: str) -> StoredExperiment | None:
    """The experiment of that name in a project; None before it was run."""
    found = _read(connection, "project_id = ? AND name = ?", [project_id, name])
    return found[0] if found else None


def get_experiment(connection: sqlite3.Connection, experiment_id: int) -> StoredExperiment:
    """One experiment. Raises `NotFoundError`."""
    found = _read(connection, "id = ?", [known_id(experiment_id)])
    if not found:
        raise NotFoundError(
            f"no experiment {experiment_id}",
            code="experiment_not_found",
            remedy="`bakehouse experiment list` shows them",
        )
    return found[0]


def list_experiments(connection: sqlite3.Connection, project_id: str | None = None) -> list[StoredExperiment]:
    """Those of a project, else all; the one that was run last is the first."""
    return _read(connection, *(("1", []) if project_id is None else ("project_id = ?", [project_id])))


def runs_of(connection: sqlite3.Connection, experiment_id: int) -> list[StoredRun]:
    """Every run that has a job, in the order in which they were queued."""
    rows = connection.execute(
        """
        SELECT task, arm_key, role, seed, lr, job_id FROM experiment_runs WHERE experiment_id = ? ORDER BY job_id, id
        """,
        [experiment_id],
    )
    return [StoredRun(*row) for row in rows]


def bakeoffs_of(connection: sqlite3.Connection, experiment_id: int) -> list[BakeoffBlock]:
    """The bake-offs of an experiment, the newest last: each is over all that was asked for when it was queued."""
    rows = connection.execute(
        "SELECT task, block, job_id FROM experiment_bakeoffs WHERE experiment_id = ? ORDER BY job_id",
        [experiment_id],
    )
    return [BakeoffBlock(*row) for row in rows]


def stopped_finals(connection: sqlite3.Connection, experiment_id: int) -> dict[StoredRun, int]:
    """The trainings that ended without having been done because their arm lost its race, with its place in it."""
    return _finals_by(connection, experiment_id, "censored")


def kept_finals(connection: sqlite3.Connection, experiment_id: int) -> dict[StoredRun, int]:
    """The trainings that were done, with the place of their arm in its race; without those that were not raced."""
    return _finals_by(connection, experiment_id, "choice")


def _finals_by(connection: sqlite3.Connection, experiment_id: int, noted: str) -> dict[StoredRun, int]:
    rows = connection.execute(
        """
        SELECT experiment_runs.task, arm_key, role, seed, lr, job_id, json_extract(result, :noted) AS rank
        FROM experiment_runs JOIN jobs ON jobs.id = job_id
        WHERE experiment_id = :id AND role = 'final' AND state = 'done' AND json_extract(result, :noted) IS NOT NULL
        ORDER BY job_id
        """,
        {"id": experiment_id, "noted": f"$.summary.{noted}.rank"},
    )
    return {StoredRun(*row[:6]): int(row["rank"]) for row in rows}


def races_of(connection: sqlite3.Connection, experiment_id: int) -> list[TrialRace]:
    """The races of an experiment, the newest last."""
    rows = connection.execute(
        "SELECT task, job_id FROM experiment_races WHERE experiment_id = ? ORDER BY job_id", [experiment_id]
    )
    return [TrialRace(*row) for row in rows]


def experiment_of_job(connection: sqlite3.Connection, job_id: int) -> StoredExperiment | None:
    """The experiment that a job is a run, a race or a bake-off of; None where it is of none."""
    of_job = """
    id IN (SELECT experiment_id FROM experiment_runs WHERE job_id = ?
           UNION SELECT experiment_id FROM experiment_bakeoffs WHERE job_id = ?
           UNION SELECT experiment_id FROM experiment_races WHERE job_id = ?)
    """
    found = _read(connection, of_job, [known_id(job_id)] * 3)
    return found[0] if found else None


def _read(connection: sqlite3.Connection, where: str, values: Sequence[object]) -> list[StoredExperiment]:
    arms: dict[int, list[StoredArm]] = {}
    for row in connection.execute(
        f"""
        SELECT experiment_id, key, name, place, definition FROM experiment_arms
        WHERE experiment_id IN (SELECT id FROM experiments WHERE {where}) ORDER BY experiment_id, place, key
        """,
        values,
    ):
        arm = StoredArm(row["key"], row["name"], row["place"], json.loads(row["definition"]))
        arms.setdefault(row["experiment_id"], []).append(arm)
    return [
        StoredExperiment(
            id=row["id"],
            name=row["name"],
            project_id=row["project_id"],
            kind=row["kind"],
            definition=json.loads(row["definition"]),
            author=row["author"],
            created_at=row["created_at"],
            changed_at=row["changed_at"],
            arms=tuple(arms.get(row["id"], ())),
        )
        for row in connection.execute(
            f"SELECT * FROM experiments WHERE {where} ORDER BY changed_at DESC, id DESC", values
        )
    ]


def count_jobs(connection: sqlite3.Connection, experiment_id: int) -> dict[str, int]:
    """How many jobs of an experiment are in each state that occurs."""
    rows = connection.execute(
        f"""
        SELECT state, count(*) AS n FROM jobs
        WHERE id IN ({OF_EXPERIMENT})
        GROUP BY state
        """,
        {"id": experiment_id},
    )
    return {row["state"]: row["n"] for row in rows}


def count_others(connection: sqlite3.Connection, experiment_id: int | None) -> int:
    """How many jobs that have not ended are none of an experiment's (None: of one that is not stored yet); without pulls."""
    (number,) = connection.execute(
        """
        SELECT count(*) FROM jobs JOIN job_states USING (state)
        WHERE stage <> 'ended' AND kind <> 'pull'
          AND id NOT IN (SELECT job_id FROM experiment_runs WHERE experiment_id = :id
                         UNION SELECT job_id FROM experiment_bakeoffs WHERE experiment_id = :id)
        """,
        {"id": experiment_id},
    ).fetchone()
    return int(number)


def lacking_jobs(connection: sqlite3.Connection, experiment_id: int) -> list[int]:
    """The jobs of an experiment that have ended without being done, oldest first."""
    rows = connection.execute(
        f"""
        SELECT id FROM jobs JOIN job_states USING (state)
        WHERE stage = 'ended' AND state <> 'done'
          AND id IN ({OF_EXPERIMENT})
        ORDER BY id
        """,
        {"id": experiment_id},
    )
    return [int(row["id"]) for row in rows]
