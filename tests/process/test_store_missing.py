"""A home that was copied or restored in part: no new database is made beside what an old one has left."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from core.errors import InputError
from core.home import Home
from core.store.database import open_database
from core.store.store_error import StoreError
from tests.support.stored import add_job, fresh

pytestmark = pytest.mark.process


def refused(home: Home) -> StoreError:
    before = sorted((path.name, path.lstat().st_size) for path in home.root.iterdir())
    with pytest.raises(StoreError) as told:
        open_database(home)
    assert sorted((path.name, path.lstat().st_size) for path in home.root.iterdir()) == before, (
        "nothing is made or deleted"
    )
    return told.value


def run_of(home: Home, number: int) -> None:
    home.run_dir(number).path.mkdir(parents=True)
    home.run_dir(number).job_file.write_text("schema: 1\n")


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("there", ["nothing", "an empty file"])
def test_runs_without_their_database(tmp_path: Path, runs: int, there: str) -> None:
    home = Home(tmp_path / "home").create()
    for number in range(1, runs + 1):
        run_of(home, number)
    if there != "nothing":
        home.database.touch()
    told = refused(home)
    assert told.code == "database_missing" and f"{runs} run" in told.message
    assert "backup" in (told.remedy or "")


def test_a_log_without_its_database_is_kept_until_the_database_is_back(tmp_path: Path) -> None:
    home, connection = fresh(tmp_path)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    add_job(connection)
    copy = Home(tmp_path / "copy").create()
    log = copy.root / "bakehouse.db-wal"
    shutil.copyfile(home.root / "bakehouse.db-wal", log)
    assert refused(copy).code == "database_missing"
    shutil.copyfile(home.database, copy.database)
    with contextlib.closing(open_database(copy)) as found:
        assert found.execute("SELECT count(*) FROM jobs").fetchone()[0] == 1
    connection.close()


def test_a_database_that_never_got_its_tables_beside_runs(tmp_path: Path) -> None:
    """As a start that was killed leaves it, in a home whose runs came from elsewhere."""
    home = Home(tmp_path / "home").create()
    with contextlib.closing(sqlite3.connect(home.database)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
    run_of(home, 7)
    with pytest.raises(StoreError) as told:
        open_database(home)
    assert told.value.code == "database_missing"


@pytest.mark.parametrize("folder", ["lost+found", "1.former-1790000000", "12"])
def test_what_is_no_run_is_in_nobody_s_way(tmp_path: Path, folder: str) -> None:
    home = Home(tmp_path / "home").create()
    (home.runs / folder).mkdir()
    assert add_job(open_database(home)) == 1


@pytest.mark.parametrize("place", ["database", "home"])
def test_a_link_to_a_disk_that_is_not_mounted_is_named(tmp_path: Path, place: str) -> None:
    home = Home(tmp_path / "home")
    if place == "home":
        home.root.symlink_to("/no/such/disk")
    else:
        run_of(home.create(), 1)
        home.database.symlink_to("/no/such/disk")
    with pytest.raises(Exception, match="This is a link to /no/such/disk, and nothing is there"):
        open_database(home)


def test_a_home_whose_name_is_no_utf_8(tmp_path: Path) -> None:
    home = Home(tmp_path / os.fsdecode(b"caf\xe9"))
    connection = open_database(home)
    add_job(connection)
    connection.close()
    assert open_database(home).execute("SELECT count(*) FROM jobs").fetchone()[0] == 1


def test_a_home_that_was_moved_away_is_not_made_again_by_who_worked_in_it(tmp_path: Path) -> None:
    """A console that stays open would show an empty home in its place, and queue jobs into it."""
    home, connection = fresh(tmp_path)
    connection.close()
    home.root.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError) as told:
        open_database(home)
    assert told.value.code == "home_moved" and not home.root.exists()
    (tmp_path / "elsewhere").rename(home.root)
    open_database(home).close()
