"""Opening the database: from nothing, by several at once, and by versions that do not fit."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import sqlite_utils
from sqlite_utils import Migrations

from core.errors import BakehouseError
from core.home import Home
from core.store import database, migrations
from core.store.database import (
    NewerDatabaseError,
    OlderDatabaseError,
    connect,
    open_database,
    schema_version,
    transaction,
)
from core.store.jobs import list_jobs
from core.store.migrations import statements
from core.store.results import bakeoff_answers
from core.store.scores import bakeoff_scores
from core.store.store_error import StoreError
from tests.support.stored import add_job, fresh
from tests.support.waiting import PATIENCE_SECONDS

OPEN = """
import sys
from pathlib import Path
from core.home import Home
from core.store.database import open_database
connection = open_database(Home(Path(sys.argv[1])))
print(connection.execute("SELECT count(*) FROM job_states").fetchone()[0])
"""


def tables(connection: sqlite3.Connection) -> set[str]:
    return {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}


def test_a_home_that_is_not_there_gets_a_database_of_this_version(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep/home")
    connection = open_database(home)
    assert schema_version(connection) == database.SCHEMA_VERSION
    assert {"jobs", "attempts", "transitions", "commands", "answers", "scores", "artefacts"} <= tables(connection)
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1
    assert stat.S_IMODE(home.root.stat().st_mode) == 0o700


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    home, connection = fresh(tmp_path)
    add_job(connection)
    connection.close()
    before = home.database.read_bytes()
    again = open_database(home)
    assert again.execute("SELECT count(*) FROM jobs").fetchone()[0] == 1
    again.close()
    assert home.database.read_bytes() == before


@pytest.mark.process
def test_eight_processes_that_open_a_fresh_home_at_once_all_find_the_schema(tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, str(tmp_path / "home")]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    for process in processes:
        said, problem = process.communicate(timeout=PATIENCE_SECONDS)
        assert (process.returncode, said) == (0, "10\n"), problem


def test_a_new_database_that_another_opens_too_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite itself does not wait here: it refuses the change to a log at once."""
    home = Home(tmp_path / "home")
    home.create()
    other = sqlite3.connect(home.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        sqlite3.connect(home.database, timeout=60).execute("PRAGMA journal_mode = wal")
    waits: list[float] = []

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            other.rollback()

    monkeypatch.setattr(database.time, "sleep", wait)
    connection = connect(home)
    assert (len(waits), connection.execute("PRAGMA journal_mode").fetchone()[0]) == (3, "wal")


def test_a_database_that_stays_locked_is_told_in_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "home")
    home.create()
    other = sqlite3.connect(home.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(database, "BUSY_TIMEOUT_SECONDS", 0.0)
    with pytest.raises(StoreError) as refused:
        connect(home)
    assert refused.value.code == "database_locked"
    other.close()


def test_a_database_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    home, connection = fresh(tmp_path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(NewerDatabaseError) as refused:
        open_database(home)
    assert refused.value.code == "newer_database"
    assert refused.value.file == str(home.database)
    assert refused.value.remedy
    assert schema_version(connect(home)) == 99


def test_no_migration_under_a_living_runner_of_an_older_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, connection = fresh(tmp_path)
    connection.close()
    newer = database.SCHEMA_VERSION + 1
    monkeypatch.setattr(database, "SCHEMA_VERSION", newer)
    with home.runner_lock.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BakehouseError) as refused:
            open_database(home)
        assert refused.value.code == "older_runner"
        assert schema_version(open_database(home, as_runner=True)) == newer, "a runner may itself"


@pytest.mark.parametrize("version", range(1, database.FIRST_VERSION))
def test_a_database_from_before_the_first_release_is_refused_with_what_to_do(tmp_path: Path, version: int) -> None:
    home, connection = fresh(tmp_path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()
    for as_runner in (False, True):
        with pytest.raises(OlderDatabaseError) as refused:
            open_database(home, as_runner=as_runner)
        assert refused.value.code == "older_database"
        assert str(home.root) in (refused.value.remedy or "")
    assert schema_version(connect(home)) == version


def test_a_database_of_the_first_release_keeps_its_jobs_answers_and_scores(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    connection = connect(home)
    first = Migrations(migrations.migrations.name)
    first()(migrations.the_queue_and_its_results)
    first.apply(sqlite_utils.Database(connection))
    connection.executescript("""
        INSERT INTO jobs (kind, title, project_id, task, lane, reason_code, position, submitted_at, changed_at, changed_by)
        VALUES ('bakeoff', 'b', 'p', 'judge', 'gpu', 'submitted', 1, 5, 5, 'anna');
        INSERT INTO answers VALUES (1, 'base', 'sofa', 1, 'k', '{"key": "k", "text": "a"}', 7);
        INSERT INTO scores (job_id, answer_key, check_hash, check_id, part, value) VALUES (1, 'k', 'h', 'c', 'format', 0.5);
        PRAGMA user_version = 3;
    """)
    connection.close()
    again = open_database(home)
    assert schema_version(again) == database.SCHEMA_VERSION
    (job,) = list_jobs(again)
    assert (job.title, dict(job.settings), job.rescored) == ("b", {}, None)
    assert [(one["answer_key"], one["value"]) for one in bakeoff_scores(again, 1)] == [("k", 0.5)]
    assert bakeoff_scores(again, 1, 1) == []
    assert bakeoff_answers(again, 1) == [{"key": "k", "text": "a"}]
    assert tuple(again.execute("SELECT task, candidate, time FROM answers").fetchone()) == ("judge", "base", 7)


def test_the_next_steps_are_taken_in_order_and_one_that_fails_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way that the first migration after the release will go: rows stay, and what was done stays done."""
    home, connection = fresh(tmp_path)
    job = add_job(connection)
    connection.close()
    known = database.SCHEMA_VERSION
    monkeypatch.setattr(database, "SCHEMA_VERSION", known + 2)
    released = migrations.migrations

    def grown(last: str) -> Migrations:
        steps = Migrations(migrations.migrations.name)
        for step in released._migrations:
            steps(name=step.name)(step.fn)
        steps(name="a")(lambda db: db.execute("ALTER TABLE jobs ADD COLUMN a INTEGER"))
        steps(name="b")(lambda db: db.execute(last))
        return steps

    monkeypatch.setattr(migrations, "migrations", grown("CREATE TABLE oh no"))
    with pytest.raises(sqlite3.OperationalError):
        open_database(home)
    assert schema_version(connect(home)) == known

    monkeypatch.setattr(migrations, "migrations", grown("ALTER TABLE jobs ADD COLUMN b INTEGER"))
    again = open_database(home)
    assert schema_version(again) == known + 2
    assert tuple(again.execute("SELECT id, a, b FROM jobs").fetchone()) == (job, None, None)


def test_a_migration_that_was_cut_off_before_its_version_was_written_is_taken_up_again(tmp_path: Path) -> None:
    home, connection = fresh(tmp_path)
    job = add_job(connection)
    connection.execute("PRAGMA user_version = 0")
    connection.close()
    again = open_database(home)
    assert schema_version(again) == database.SCHEMA_VERSION
    assert again.execute("SELECT id FROM jobs").fetchone()[0] == job, "nothing was made anew"


def test_a_schema_that_fails_midway_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(script: str) -> list[str]:
        return [*list(statements(script))[:5], "CREATE TABLE oh no"]

    monkeypatch.setattr(migrations, "statements", broken)
    home = Home(tmp_path / "home")
    with pytest.raises(sqlite3.OperationalError):
        open_database(home)
    assert "jobs" not in tables(connect(home))

    monkeypatch.undo()
    assert "jobs" in tables(open_database(home))


def test_a_script_is_cut_between_statements_and_not_inside_a_trigger() -> None:
    trigger = "CREATE TRIGGER t AFTER INSERT ON a\nBEGIN\n  SELECT 1;\n  SELECT 2;\nEND;\n"
    assert [part.strip() for part in statements(f"CREATE TABLE a (b); -- c;\n{trigger}")] == [
        "CREATE TABLE a (b); -- c;",
        trigger.strip(),
    ]


def test_a_transaction_is_all_or_nothing_and_holds_the_write_lock_from_its_start(tmp_path: Path) -> None:
    home, connection = fresh(tmp_path)
    other = sqlite3.connect(home.database, timeout=0, isolation_level=None)
    with pytest.raises(RuntimeError), transaction(connection):
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
        connection.execute("UPDATE queue SET paused = 1")
        raise RuntimeError
    assert other.execute("SELECT paused FROM queue").fetchone()[0] == 0


def test_a_log_that_another_connection_removes_at_that_moment_is_no_reason_to_refuse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "home").create()
    open_database(home).close()
    log = home.database.with_name(f"{home.database.name}-wal")
    look, looks = Path.stat, []

    def removed_behind_a_look(path: Path, **how: bool) -> os.stat_result:
        found = look(path, **how)
        if path == log and how.get("follow_symlinks", True):
            looks.append(path)
            path.unlink()  # as by whoever closes the last connection
        return found

    log.touch()
    monkeypatch.setattr(Path, "stat", removed_behind_a_look)
    open_database(home).close()
    assert looks, "the log was looked at while it was there"
