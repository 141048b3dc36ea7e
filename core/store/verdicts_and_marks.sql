-- What was found to be wrong with an answer without a model: JSON of codes of `core.failure_modes`. NULL: that scoring was made
-- before they were looked for.
ALTER TABLE scores ADD COLUMN modes TEXT CHECK (modes IS NULL OR json_valid(modes));

-- What a judge model said of an answer. Files of the run directory are the source. `key` is the hash of all that a verdict
-- depends on. An answer that two bake-offs share is judged once, and each has a row of it: by which judge a bake-off was judged
-- does not change when another one is. `job_id` is the job that asked, and `bakeoff_job_id` the
-- bake-off whose answer was shown. `value` is in [0, 1], NULL for a text that says none.
CREATE TABLE verdicts (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL,
  job_id INTEGER REFERENCES jobs (id) ON DELETE SET NULL,
  bakeoff_job_id INTEGER REFERENCES jobs (id) ON DELETE SET NULL,
  task TEXT NOT NULL,
  check_hash TEXT NOT NULL,
  answer_key TEXT NOT NULL,
  answer_sha256 TEXT NOT NULL,
  candidate TEXT NOT NULL,
  judge TEXT NOT NULL,
  judge_identity TEXT NOT NULL,
  ask_order TEXT NOT NULL DEFAULT '' CHECK (ask_order IN ('', 'AB', 'BA')),
  ask INTEGER NOT NULL CHECK (ask > 0),
  text TEXT NOT NULL,
  value REAL CHECK (value BETWEEN 0 AND 1),
  time REAL NOT NULL,
  UNIQUE (bakeoff_job_id, key)
);

CREATE INDEX verdicts_by_answer ON verdicts (check_hash, answer_sha256);

CREATE INDEX verdicts_by_bakeoff ON verdicts (bakeoff_job_id, task);

-- What a person said of an answer. `value` is in [0, 1]: 1 is right, 0 is wrong. Of two marks of one author the later counts.
CREATE TABLE marks (
  id INTEGER PRIMARY KEY,
  project_id TEXT NOT NULL,
  task TEXT NOT NULL,
  input_sha256 TEXT NOT NULL,
  input_id TEXT NOT NULL,
  answer_sha256 TEXT NOT NULL,
  value REAL NOT NULL CHECK (value BETWEEN 0 AND 1),
  note TEXT NOT NULL DEFAULT '',
  author TEXT NOT NULL,
  time REAL NOT NULL
);

CREATE INDEX marks_by_answer ON marks (project_id, task, input_sha256, answer_sha256);
