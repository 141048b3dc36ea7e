"""Experiments as they are stored."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from core.errors import NotFoundError
from core.home import Home
from core.store import database
from core.store.database import open_database, schema_version, transaction
from core.store.experiments import (
    BakeoffBlock,
    StoredArm,
    StoredRun,
    TrialRace,
    bakeoffs_of,
    count_jobs,
    experiment_of_job,
    find_experiment,
    get_experiment,
    list_experiments,
    put_arms,
    put_bakeoff,
    put_experiment,
    put_race,
    put_run,
    races_of,
    runs_of,
)
from tests.support.stored import add_job, database_before, fresh

ARM = StoredArm("a1", "small r8", 1, {"model": "small"})


def add(connection: sqlite3.Connection, name: str = "e", project: str = "p", seeds: int = 1) -> int:
    return put_experiment(
        connection, name=name, project_id=project, kind="experiment", definition={"seeds": seeds}, author="anna"
    )


def test_an_experiment_that_is_run_again_is_the_same_one(tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    job, other = add_job(connection), add_job(connection)
    with transaction(connection):
        made = add(connection)
        elsewhere = add(connection, project="q")
        put_arms(connection, made, [ARM])
        put_run(connection, made, StoredRun("judge", "a1", "final", 0, None, job))
        put_bakeoff(connection, made, BakeoffBlock("judge", 1, other))
    with transaction(connection):
        assert add(connection, seeds=2) == made
        put_arms(connection, made, [StoredArm("a2", "large", 1, {}), StoredArm("a1", "small", 2, {"model": "small"})])
    found = find_experiment(connection, "p", "e")
    assert found is not None and found == get_experiment(connection, made)
    assert (found.definition, [arm.name for arm in found.arms]) == ({"seeds": 2}, ["large", "small"])
    assert [one.id for one in list_experiments(connection)] == [made, elsewhere]
    assert [one.id for one in list_experiments(connection, "q")] == [elsewhere]
    assert [(run.key, run.job_id) for run in runs_of(connection, made)] == [(("judge", "a1", "final", 0, None), job)]
    assert bakeoffs_of(connection, made) == [BakeoffBlock("judge", 1, other)]
    assert {getattr(experiment_of_job(connection, one), "id", None) for one in (job, other)} == {made}
    assert experiment_of_job(connection, 99) is None
    with pytest.raises(NotFoundError):
        get_experiment(connection, 99)


@pytest.mark.parametrize("lr", [None, 1e-4])
def test_a_run_has_one_job_and_is_missing_once_that_was_removed(tmp_path: Path, lr: float | None) -> None:
    _, connection = fresh(tmp_path)
    jobs = [add_job(connection) for _ in range(2)]
    with transaction(connection):
        made = add(connection)
        put_arms(connection, made, [ARM])
    role = "final" if lr is None else "trial"
    with transaction(connection):
        put_run(connection, made, StoredRun("judge", "a1", role, 0, lr, jobs[0]))  # type: ignore[arg-type]
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"), transaction(connection):
        put_run(connection, made, StoredRun("judge", "a1", role, 0, lr, jobs[1]))  # type: ignore[arg-type]
    with transaction(connection):
        connection.execute("DELETE FROM jobs WHERE id = ?", [jobs[0]])
    assert runs_of(connection, made) == []


def test_a_database_of_version_9_knows_no_experiments_and_its_jobs_wait_for_what_is_done(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    connection = database_before(home, "experiments_and_soft_dependencies", 9)
    first = add_job(connection)
    second = add_job(connection)
    with transaction(connection):
        connection.execute("INSERT INTO dependencies (job_id, needs_id) VALUES (?, ?)", [second, first])
    connection.close()

    again = open_database(home)
    assert schema_version(again) == database.SCHEMA_VERSION and list_experiments(again) == []
    assert [tuple(row) for row in again.execute("SELECT * FROM dependencies")] == [(second, first, "done")]
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"), transaction(again):
        again.execute("UPDATE dependencies SET until = 'never'")


def test_a_database_of_version_10_has_experiments_without_races(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    connection = database_before(home, "races_of_experiments", 10)
    job = add_job(connection)
    with transaction(connection):
        made = add(connection)
        put_arms(connection, made, [ARM])
        put_run(connection, made, StoredRun("judge", "a1", "final", 0, None, job))
    connection.close()

    again = open_database(home)
    assert schema_version(again) == database.SCHEMA_VERSION and races_of(again, made) == []
    assert [run.job_id for run in runs_of(again, made)] == [job]
    first, second = add_job(again), add_job(again)
    with transaction(again):
        for one in (first, second):
            put_race(again, made, TrialRace("judge", one))
    assert [race.job_id for race in races_of(again, made)] == [first, second]
    assert count_jobs(again, made) == {"waiting": 3}
    with transaction(again):
        again.execute("DELETE FROM jobs WHERE id = ?", [first])
    assert races_of(again, made) == [TrialRace("judge", second)]
