"""The schema's steps, in order: `schema.sql` is the first. A released step is never changed, only followed by another, and each
new one raises `database.SCHEMA_VERSION`."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

from sqlite_utils import Database, Migrations

from core.home import Home
from core.own_paths import MARK, former_home, located, stored, stored_result

migrations = Migrations("bakehouse")


def statements(script: str) -> Iterator[str]:
    """The single statements of an SQL script.

    `executescript` would commit the transaction that a step runs in, so the script is cut where SQLite says that a statement is
    complete (a trigger holds semicolons of its own).
    """
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@migrations()
def the_queue_and_its_results(db: Any) -> None:
    for statement in statements(files("core.store").joinpath("schema.sql").read_text(encoding="utf-8")):
        db.execute(statement)


RESCORINGS = """
-- Answers scored again with other checks: a result of its own beside the original one. The bake-off is done.
CREATE TABLE rescorings (
  job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  number INTEGER NOT NULL CHECK (number > 0),
  time REAL NOT NULL,
  author TEXT NOT NULL,
  message TEXT NOT NULL,
  checks TEXT NOT NULL CHECK (json_valid(checks)),
  changes TEXT NOT NULL CHECK (json_valid(changes)),
  summary TEXT NOT NULL CHECK (json_valid(summary)),
  PRIMARY KEY (job_id, number)
) WITHOUT ROWID;

-- `rescoring` 0: the scores that the bake-off was made with.
CREATE TABLE scores_by_rescoring (
  job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  rescoring INTEGER NOT NULL DEFAULT 0 CHECK (rescoring >= 0),
  answer_key TEXT NOT NULL,
  check_hash TEXT NOT NULL,
  check_id TEXT NOT NULL,
  part TEXT NOT NULL CHECK (part IN ('format', 'content')),
  value REAL NOT NULL CHECK (value BETWEEN 0 AND 1),
  detail TEXT NOT NULL DEFAULT '',
  faulty INTEGER NOT NULL DEFAULT 0 CHECK (faulty IN (0, 1)),
  PRIMARY KEY (job_id, rescoring, answer_key, check_hash)
) WITHOUT ROWID;

INSERT INTO scores_by_rescoring (job_id, answer_key, check_hash, check_id, part, value, detail, faulty)
SELECT job_id, answer_key, check_hash, check_id, part, value, detail, faulty FROM scores;

DROP TABLE scores;

ALTER TABLE scores_by_rescoring RENAME TO scores;

-- What a job was told, by the names of its settings: rows of a queue tell two runs apart by what differs.
ALTER TABLE jobs ADD COLUMN settings TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(settings));
"""


@migrations()
def rescorings_and_settings(db: Any) -> None:
    for statement in statements(RESCORINGS):
        db.execute(statement)


@migrations()
def own_files_by_their_place_in_the_home(db: Any) -> None:
    """Paths below the home were stored absolute, so that nothing was found in a home that had been moved."""
    # Not from `PRAGMA database_list`: sqlite3 cannot return a path that is no UTF-8.
    home = Home(db.conn.database.parent)
    former: dict[int, str | None] = {}
    for (job_id,) in db.execute(
        "SELECT id FROM jobs WHERE result IS NOT NULL UNION SELECT job_id FROM artefacts"
    ).fetchall():
        former[job_id] = former_home(home.run_dir(job_id))
    for job_id, sha256, path in db.execute("SELECT job_id, sha256, path FROM artefacts").fetchall():
        kept = stored(home, located(home, path, former[job_id]))
        if not kept.startswith(MARK) and not Path(path).exists():
            # Its job file is gone. An artefact lies under its hash, so it is told from that.
            place = home.artefacts / sha256 / Path(path).name
            kept = stored(home, place) if place.exists() else path
        db.execute("UPDATE artefacts SET path = ? WHERE job_id = ? AND sha256 = ?", [kept, job_id, sha256])
    for job_id, result in db.execute("SELECT id, result FROM jobs WHERE result IS NOT NULL").fetchall():
        document = json.loads(result)
        if isinstance(document, dict):
            kept = json.dumps(stored_result(home, document, former[job_id]))
            db.execute("UPDATE jobs SET result = ? WHERE id = ?", [kept, job_id])


def migrate(connection: sqlite3.Connection) -> None:
    """Apply the steps that are missing, each in a transaction of its own."""
    migrations.apply(Database(connection))
