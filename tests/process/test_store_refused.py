"""What the database refuses, told apart on real disks, for real users and under real limits; and none of it does harm."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from core.home import Home
from core.store import database as store
from core.store.database import open_database, transaction
from core.store.store_error import StoreError, lock_holders
from tests.support.places import NOBODY, as_user, full, mounts, on_a_disk, read_only, users
from tests.support.running import running
from tests.support.stored import add_job, fresh

CHECKOUT = Path(__file__).parents[2]
ACT = """
import sys, json
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from core.errors import BakehouseError
from core.home import Home
from core.store.database import open_database, transaction
from tests.support.stored import add_job
try:
    connection = open_database(Home(Path(sys.argv[2])))
    rows = connection.execute("SELECT count(*) FROM jobs").fetchone()[0]
    if sys.argv[3] == "write":
        for _ in range(int(sys.argv[4])):
            add_job(connection)
    print(json.dumps({"rows": rows}))
except BakehouseError as error:
    print(json.dumps(error.to_json()))
"""
needs_mounts = pytest.mark.skipif(mounts() is None, reason="this machine allows no namespace with mounts")
needs_users = pytest.mark.skipif(not users(), reason="another user needs root and setpriv")


def act(
    home: Home, what: str, place: Callable[[Sequence[str]], Sequence[str]] = list, *, rows: int = 1, **more: object
):  # type: ignore[no-untyped-def]
    command = [sys.executable, "-c", ACT, str(CHECKOUT), str(home.root), what, str(rows)]
    done = subprocess.run(place(command), capture_output=True, text=True, check=False, **more)  # type: ignore[call-overload]
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    return json.loads(done.stdout)


def with_rows(folder: Path) -> Home:
    home, connection = fresh(folder)
    add_job(connection)
    connection.close()
    return home


def harmless(told: dict[str, str]) -> None:
    """A sound database is never called broken, and nobody is told to move or remove it."""
    said = f"{told['message']} {told['remedy']}"
    assert told["code"] != "bad_database"
    assert not any(word in said for word in ("move", "delete", "remove", "damaged", "not an SQLite", "rename"))
    assert told["remedy"]


def sound(home: Home) -> None:
    connection = sqlite3.connect(home.database)
    assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    assert connection.execute("SELECT count(*) FROM jobs").fetchone()[0] == 1
    connection.close()


@needs_mounts
def test_on_a_full_disk(tmp_path: Path) -> None:
    home = with_rows(tmp_path)
    told = act(home, "write", lambda command: full(home.root, command))
    assert told["code"] == "disk_full"
    harmless(told)
    sound(home)


CLI = [sys.executable, "-P", "-c", "import sys; from core.cli.main import main; main(sys.argv[1:])"]


@needs_mounts
@pytest.mark.parametrize("disk", [full, read_only])
def test_what_a_full_or_read_only_home_holds_can_be_looked_at_and_room_be_made(
    tmp_path: Path, disk: Callable[[Path, Sequence[str]], list[str]]
) -> None:
    home = with_rows(tmp_path)
    kept = home.run_dir(1).checkpoints / "checkpoint-1"
    kept.mkdir(parents=True)
    (kept / "weights").write_bytes(b"x" * 9000)
    connection = sqlite3.connect(home.database)
    connection.execute("UPDATE jobs SET state = 'cancelled', ended_at = 1")
    connection.commit()
    connection.close()
    environment = {
        **os.environ,
        "BAKEHOUSE_HOME": str(home.root),
        "BAKEHOUSE_GPU_SOURCE": "none",
        "PYTHONPATH": str(CHECKOUT),
    }

    def bakehouse(*words: str) -> subprocess.CompletedProcess[str]:
        command = disk(home.root, [*CLI, *words])
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    for words in (["queue", "list"], ["runs", "show", "1"], ["runs", "list"], ["results"]):
        done = bakehouse(*words)
        assert (done.returncode, done.stderr) == (0, ""), done
    doctor = bakehouse("doctor", "--quick")
    assert f"{home.root} takes no file" in " ".join(doctor.stdout.split()) and not doctor.stderr
    cleaned = bakehouse("runs", "clean", "1")
    if disk is full:
        assert (cleaned.returncode, cleaned.stdout) == (0, "9 kB freed\n"), cleaned
    else:
        assert cleaned.returncode == 1 and "read-only" in cleaned.stderr and not cleaned.stdout, "nothing was freed"
    held = bakehouse("queue", "pause")
    assert held.returncode == 1 and held.stderr.count("\n") == 1


@needs_mounts
def test_on_a_disk_that_fills_up_while_it_is_written(tmp_path: Path) -> None:
    home = with_rows(tmp_path)
    told = act(home, "write", lambda command: on_a_disk(home.root, command, size="700k"), rows=3000)
    assert told["code"] == "disk_full"
    harmless(told)


@needs_mounts
def test_a_read_only_disk_can_be_read_and_says_so_when_it_is_to_be_written(tmp_path: Path) -> None:
    home = with_rows(tmp_path)
    place = lambda command: read_only(home.root, command)  # noqa: E731
    assert act(home, "read", place) == {"rows": 1}
    told = act(home, "write", place)
    assert told["code"] == "read_only"
    harmless(told)


@needs_mounts
def test_a_database_that_would_have_to_be_made_on_a_read_only_disk(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    told = act(home, "read", lambda command: read_only(home.root, command))
    assert told["code"] == "read_only"
    harmless(told)


@pytest.mark.parametrize("limit", [0, 4096, 100_000])
def test_under_a_limit_on_file_sizes(tmp_path: Path, limit: int) -> None:
    home = with_rows(tmp_path)

    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    told = act(home, "write", rows=2000, preexec_fn=lower)
    assert told["code"] == "file_size_limit"
    harmless(told)
    connection = sqlite3.connect(home.database)
    assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"


@needs_users
@pytest.mark.parametrize(
    ("rights", "of_database"), [(0o700, 0o600), (0o755, 0o600), (0o755, 0o644), (0o777, 0o600), (0o777, 0o444)]
)
def test_as_a_user_who_may_not(tmp_path: Path, rights: int, of_database: int) -> None:
    open_to_all = (
        Path(tmp_path.parts[0], *tmp_path.parts[1:2]) / f"bakehouse-{tmp_path.parent.name}-{rights:o}{of_database:o}"
    )
    open_to_all.mkdir()
    try:
        home = with_rows(open_to_all)
        for path in (open_to_all, home.root):
            path.chmod(0o755)
        home.root.chmod(rights)
        home.database.chmod(of_database)
        told = act(home, "write", lambda command: as_user(NOBODY, command))
        assert told["code"] == "no_permission" and str(NOBODY) in told["message"]
        harmless(told)
        sound(home)
    finally:
        shutil.rmtree(open_to_all)


LOCKER = """
import sqlite3, sys, time
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute(sys.argv[2])
print("here", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    "way", ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE", "PRAGMA locking_mode = exclusive; BEGIN IMMEDIATE"]
)
def test_a_lock_is_told_with_who_holds_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    monkeypatch.setattr(store, "BUSY_TIMEOUT_SECONDS", 0.1)
    home = with_rows(tmp_path)
    program = LOCKER.replace(
        "connection.execute(sys.argv[2])", "[connection.execute(one) for one in sys.argv[2].split('; ')]"
    )
    with running([sys.executable, "-c", program, str(home.database), way]) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "here\n"
        with pytest.raises(StoreError) as refused:
            add_job(open_database(home))
        told = refused.value.to_json()
        assert told["code"] == "database_locked"
        assert f"pid {holder.pid} (" in told["message"]
        harmless(told)
        assert lock_holders(tmp_path / "another.db") == []
    sound(home)


def test_a_home_that_is_moved_under_an_open_connection(tmp_path: Path) -> None:
    home, connection = fresh(tmp_path)
    home.root.rename(tmp_path / "elsewhere")
    add_job(connection)
    connection.close()
    moved = open_database(Home(tmp_path / "elsewhere"))
    assert moved.execute("SELECT count(*) FROM jobs").fetchone()[0] == 1, "what is written follows the home"
    assert not home.root.exists()


def test_what_is_no_database_is_kept(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    for content in (b"SQLite format 3", b"not a database, by far " * 100, b"\0" * 4096, bytes(range(256)) * 40):
        home.database.write_bytes(content)
        with pytest.raises(StoreError) as refused:
            open_database(home)
        assert refused.value.code == "bad_database"
        assert refused.value.remedy is not None and refused.value.remedy.startswith("keep the file")
        assert home.database.read_bytes() == content


def test_a_database_with_damaged_pages_is_told_where_it_is_read(tmp_path: Path) -> None:
    home, connection = fresh(tmp_path)
    for _ in range(50):
        add_job(connection)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(home.database.read_bytes())
    content[8192:] = b"\x55" * (len(content) - 8192)
    home.database.write_bytes(content)
    with pytest.raises(StoreError) as refused:
        open_database(home).execute("SELECT * FROM jobs").fetchall()
    assert refused.value.code == "bad_database" and "damaged" in refused.value.message


@pytest.mark.parametrize("name", ["bakehouse.db", "bakehouse.db-wal", "bakehouse.db-shm"])
def test_a_folder_in_the_place_of_a_file_of_the_database(tmp_path: Path, name: str) -> None:
    home = with_rows(tmp_path)
    (home.root / name).unlink(missing_ok=True)
    (home.root / name).mkdir()
    with pytest.raises(StoreError) as refused:
        open_database(home)
    assert "Not a regular file" in refused.value.message and name in refused.value.message


def test_an_empty_file_is_a_new_database(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    home.database.touch()
    assert add_job(open_database(home)) == 1


def test_a_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    home = Home(tmp_path / "home").create()
    other = sqlite3.connect(home.database)
    other.execute("CREATE TABLE notes (text)")
    other.close()
    before = home.database.read_bytes()
    with pytest.raises(StoreError) as refused:
        open_database(home)
    assert refused.value.code == "other_database"
    assert sqlite3.connect(home.database).execute("SELECT name FROM sqlite_master").fetchall() == [("notes",)]
    assert len(home.database.read_bytes()) == len(before)


def test_a_fault_of_a_statement_is_no_refusal_of_the_disk(tmp_path: Path) -> None:
    _, connection = fresh(tmp_path)
    with pytest.raises(sqlite3.OperationalError, match="no such table") as raised:
        connection.execute("SELECT * FROM absent")
    assert not isinstance(raised.value, StoreError)
    with pytest.raises(sqlite3.IntegrityError), transaction(connection):
        connection.execute("INSERT INTO queue (one) VALUES (2)")


def test_another_connection_of_this_process_keeps_its_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing any descriptor of a file drops the locks of this process: neither opening nor a refusal may do that."""
    monkeypatch.setattr(store, "BUSY_TIMEOUT_SECONDS", 0.1)
    home, connection = fresh(tmp_path)
    with transaction(connection):
        with pytest.raises(StoreError):
            add_job(open_database(home))
        other = "import sqlite3, sys; sqlite3.connect(sys.argv[1], timeout=0.1).execute('BEGIN IMMEDIATE')"
        done = subprocess.run([sys.executable, "-c", other, str(home.database)], capture_output=True, check=False)
        assert b"database is locked" in done.stderr
