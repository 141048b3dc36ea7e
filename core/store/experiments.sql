-- What a job waits for of another one: that it is done, or that it has ended, whatever its end.
ALTER TABLE dependencies ADD COLUMN until TEXT NOT NULL DEFAULT 'done' CHECK (until IN ('done', 'ended'));

-- Trainings that are compared, and which job is which of them. `definition` is what was asked for, as JSON. An experiment that is
-- run again, or extended, is the same row.
CREATE TABLE experiments (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  project_id TEXT NOT NULL,
  kind TEXT NOT NULL CHECK (kind IN ('experiment', 'tournament')),
  definition TEXT NOT NULL CHECK (json_valid(definition)),
  author TEXT NOT NULL,
  created_at REAL NOT NULL,
  changed_at REAL NOT NULL,
  UNIQUE (project_id, name)
);

-- One way to train. `key` is a hash of what decides what is trained; `place` is the order in which arms are shown.
CREATE TABLE experiment_arms (
  experiment_id INTEGER NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
  key TEXT NOT NULL,
  name TEXT NOT NULL,
  place INTEGER NOT NULL CHECK (place > 0),
  definition TEXT NOT NULL CHECK (json_valid(definition)),
  PRIMARY KEY (experiment_id, key)
) WITHOUT ROWID;

-- A run whose job was removed is not there any more: it is missing, and is queued again when the experiment is.
CREATE TABLE experiment_runs (
  id INTEGER PRIMARY KEY,
  experiment_id INTEGER NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
  task TEXT NOT NULL,
  arm_key TEXT NOT NULL,
  role TEXT NOT NULL CHECK (role IN ('trial', 'final', 'merge', 'convert', 'quantize')),
  seed INTEGER NOT NULL CHECK (seed >= 0),
  lr REAL CHECK (lr > 0),
  job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  CHECK ((role = 'trial') = (lr IS NOT NULL)),
  FOREIGN KEY (experiment_id, arm_key) REFERENCES experiment_arms (experiment_id, key) ON DELETE CASCADE
);

-- Two NULLs are different in a unique index: 0 stands for a run that has no learning rate.
CREATE UNIQUE INDEX experiment_runs_once ON experiment_runs (experiment_id, task, arm_key, role, seed, coalesce(lr, 0));

CREATE INDEX experiment_runs_by_job ON experiment_runs (job_id);

-- The bake-offs of an experiment: `block` is the number of the last block of seeds that one covers, from 1. The newest of a task
-- is over all that was asked for when it was queued.
CREATE TABLE experiment_bakeoffs (
  experiment_id INTEGER NOT NULL REFERENCES experiments (id) ON DELETE CASCADE,
  task TEXT NOT NULL,
  block INTEGER NOT NULL CHECK (block > 0),
  job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  PRIMARY KEY (experiment_id, job_id)
) WITHOUT ROWID;

CREATE INDEX experiment_bakeoffs_by_job ON experiment_bakeoffs (job_id);
