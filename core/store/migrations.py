"""The schema's steps, in order: `schema.sql` is the first, scripts of other names are later ones. A released step is never
changed, only followed by another, and each new one raises `database.SCHEMA_VERSION`."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

from core.home import Home
from core.own_paths import MARK, former_home, located, stored, stored_result


@contextmanager
def as_if_absent(name: str) -> Iterator[None]:
    """Import as where the module `name` is not installed; no effect where somebody has imported it already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules[name]


# sqlite-utils brings pandas where there is one (a training's libraries do), for types of columns that are not ours: that took
# the first command in a new home 0.3 s.
with as_if_absent("pandas"):
    from sqlite_utils import Database, Migrations

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


SEVERAL_TASKS = """
-- A bake-off is of several tasks. What a leaderboard is made of stands beside the document, in an index of its own: a board of
-- 100,000 answers does not read their texts. These columns are generated, so they cannot differ from the document.
CREATE TABLE answers_by_task (
  id INTEGER PRIMARY KEY,
  job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  task TEXT NOT NULL,
  candidate TEXT NOT NULL,
  input_id TEXT NOT NULL,
  repeat INTEGER NOT NULL,
  key TEXT NOT NULL,
  time REAL NOT NULL,
  finish TEXT GENERATED ALWAYS AS (json_extract(document, '$.finish')) STORED,
  fault TEXT GENERATED ALWAYS AS (json_extract(document, '$.fault')) STORED,
  prompt_tokens INTEGER GENERATED ALWAYS AS (json_extract(document, '$.prompt_tokens')) STORED,
  completion_tokens INTEGER GENERATED ALWAYS AS (json_extract(document, '$.completion_tokens')) STORED,
  thinking_tokens INTEGER GENERATED ALWAYS AS (json_extract(document, '$.thinking_tokens')) STORED,
  characters INTEGER GENERATED ALWAYS AS (json_extract(document, '$.characters')) STORED,
  seconds REAL GENERATED ALWAYS AS (json_extract(document, '$.seconds')) STORED,
  first_token_seconds REAL GENERATED ALWAYS AS (json_extract(document, '$.first_token_seconds')) STORED,
  prompt_seconds REAL GENERATED ALWAYS AS (json_extract(document, '$.prompt_seconds')) STORED,
  batch_size INTEGER GENERATED ALWAYS AS (json_extract(document, '$.batch_size')) STORED,
  shared INTEGER GENERATED ALWAYS AS (json_extract(document, '$.shared')) STORED,
  tries INTEGER GENERATED ALWAYS AS (json_extract(document, '$.tries')) STORED,
  identity TEXT GENERATED ALWAYS AS (json_extract(document, '$.identity')) STORED,
  document TEXT NOT NULL CHECK (json_valid(document)),
  UNIQUE (job_id, task, candidate, input_id, repeat)
);

-- Before there was `task` in the key a bake-off had one task, which each of its answers names.
INSERT INTO answers_by_task (job_id, task, candidate, input_id, repeat, key, time, document)
SELECT a.job_id, coalesce(json_extract(a.document, '$.task'), j.task, ''), a.candidate, a.input_id, a.repeat, a.key, a.time,
       a.document
FROM answers a JOIN jobs j ON j.id = a.job_id;

-- Which checks the points of a row of `scores` are of: JSON of [id, part, hash] each.
CREATE TABLE check_plans (
  id INTEGER PRIMARY KEY,
  checks TEXT NOT NULL UNIQUE CHECK (json_valid(checks))
);

-- All that a scoring says of an answer; `rescoring` 0: the scores that the bake-off was made with. `points` has a number in
-- [0, 1] for each check of the plan, `details` the words to those that have some, by their place in the plan, `faulty` the
-- places of those that could not be done. `fault` is what the model did wrong, `thinks_aloud` whether the text seems to begin
-- with thinking, `compared` the hash of what repeats are compared by; NULL in `compared`: the scoring kept none of the three.
CREATE TABLE scores_by_answer (
  job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  rescoring INTEGER NOT NULL DEFAULT 0 CHECK (rescoring >= 0),
  answer_id INTEGER NOT NULL REFERENCES answers_by_task (id) ON DELETE CASCADE,
  plan_id INTEGER NOT NULL REFERENCES check_plans (id),
  points TEXT NOT NULL CHECK (json_valid(points)),
  details TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(details)),
  faulty TEXT NOT NULL DEFAULT '[]' CHECK (json_valid(faulty)),
  fault TEXT,
  thinks_aloud INTEGER NOT NULL DEFAULT 0 CHECK (thinks_aloud IN (0, 1)),
  compared TEXT,
  PRIMARY KEY (job_id, rescoring, answer_id)
) WITHOUT ROWID;
"""

SEVERAL_TASKS_IN_PLACE = """
DROP TABLE scores;

DROP TABLE answers;

ALTER TABLE answers_by_task RENAME TO answers;

ALTER TABLE scores_by_answer RENAME TO scores;

CREATE INDEX answers_by_key ON answers (job_id, key);

CREATE INDEX answer_figures ON answers (
  job_id, task, candidate, input_id, repeat, finish, fault, completion_tokens, thinking_tokens, characters, seconds,
  first_token_seconds, batch_size, shared, tries
);

CREATE INDEX scores_by_answer ON scores (answer_id);

-- An answer that another one takes the place of loses what was said of it.
CREATE TRIGGER answers_replaced AFTER UPDATE OF document ON answers
BEGIN
  DELETE FROM scores WHERE answer_id = OLD.id;
END;

-- What a bake-off measured of its candidates beside their answers; `number` is the line of the file that it was written to.
CREATE TABLE measured_candidates (
  job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  number INTEGER NOT NULL,
  candidate TEXT NOT NULL,
  time REAL NOT NULL,
  document TEXT NOT NULL CHECK (json_valid(document)),
  PRIMARY KEY (job_id, number)
) WITHOUT ROWID;
"""


@migrations()
def answers_of_several_tasks(db: Any) -> None:
    """An answer's key holds its task; scores are a row an answer, no longer a row a check."""
    for statement in statements(SEVERAL_TASKS):
        db.execute(statement)
    plans: dict[str, int] = {}
    rows = db.execute("""
        SELECT s.job_id, s.rescoring, a.id, s.check_id, s.part, s.check_hash, s.value, s.detail, s.faulty
        FROM scores s JOIN answers_by_task a ON a.job_id = s.job_id AND a.key = s.answer_key
        ORDER BY s.job_id, s.rescoring, a.id, s.check_hash
    """)
    for place, of_answer in groupby(rows, key=lambda row: tuple(row[:3])):
        scores = list(of_answer)
        checks = json.dumps([row[3:6] for row in scores])
        if checks not in plans:
            plans[checks] = db.execute("INSERT INTO check_plans (checks) VALUES (?) RETURNING id", [checks]).fetchone()[
                0
            ]
        db.execute(
            """
            INSERT INTO scores_by_answer (job_id, rescoring, answer_id, plan_id, points, details, faulty)
            VALUES (?, ?, ?, ?, ?, ?, ?)
            """,
            [
                *place,
                plans[checks],
                json.dumps([row[6] for row in scores]),
                json.dumps({str(number): row[7] for number, row in enumerate(scores) if row[7]}),
                json.dumps([number for number, row in enumerate(scores) if row[8]]),
            ],
        )
    for statement in statements(SEVERAL_TASKS_IN_PLACE):
        db.execute(statement)


CHAINS = """
-- Jobs that are one thing to a person: from a training to a file that was proved, say. What waits for what stands in
-- `dependencies`; here stands which jobs belong together, and in which order. `taken`: the job was there before the chain.
CREATE TABLE chains (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  title TEXT NOT NULL,
  project_id TEXT NOT NULL,
  author TEXT NOT NULL,
  submitted_at REAL NOT NULL
);

CREATE TABLE chain_links (
  chain_id INTEGER NOT NULL REFERENCES chains (id) ON DELETE CASCADE,
  number INTEGER NOT NULL CHECK (number > 0),
  job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  taken INTEGER NOT NULL CHECK (taken IN (0, 1)),
  PRIMARY KEY (chain_id, number),
  UNIQUE (chain_id, job_id)
) WITHOUT ROWID;

CREATE INDEX chain_links_by_job ON chain_links (job_id);
"""


@migrations()
def chains_of_jobs(db: Any) -> None:
    for statement in statements(CHAINS):
        db.execute(statement)


@migrations()
def fleet_of_aliases(db: Any) -> None:
    for statement in statements(files("core.store").joinpath("fleet.sql").read_text(encoding="utf-8")):
        db.execute(statement)


@migrations()
def modes_verdicts_and_marks(db: Any) -> None:
    for statement in statements(files("core.store").joinpath("verdicts_and_marks.sql").read_text(encoding="utf-8")):
        db.execute(statement)


@migrations()
def experiments_and_soft_dependencies(db: Any) -> None:
    for statement in statements(files("core.store").joinpath("experiments.sql").read_text(encoding="utf-8")):
        db.execute(statement)


RACES = """
-- The job that puts the arms of an experiment in order at a task. One whose trials are others is another race.
CREATE TABLE experiment_races (
  experiment_id INTEGER NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
  task TEXT NOT NULL,
  job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  PRIMARY KEY (experiment_id, job_id)
) WITHOUT ROWID;

CREATE INDEX experiment_races_by_job ON experiment_races (job_id);

-- A new job is the last of the queue: of which place that is, a thousand at a time ask.
CREATE INDEX jobs_by_position ON jobs (position);
"""


@migrations()
def races_of_experiments(db: Any) -> None:
    for statement in statements(RACES):
        db.execute(statement)


def migrate(connection: sqlite3.Connection) -> None:
    """Apply the steps that are missing, each in a transaction of its own."""
    migrations.apply(Database(connection))
