-- States, the ways between them and what follows a stop are data: triggers refuse what cannot happen and write down what did,
-- in the same transaction. A reason is a code and its values as JSON; `core.wording` makes the words of it.

CREATE TABLE job_states (
  state TEXT PRIMARY KEY,
  stage TEXT NOT NULL CHECK (stage IN ('queued', 'active', 'ended'))
) WITHOUT ROWID;

INSERT INTO job_states VALUES
  ('waiting', 'queued'), ('ready', 'queued'),
  ('starting', 'active'), ('running', 'active'), ('stopping', 'active'),
  ('done', 'ended'), ('failed', 'ended'), ('cancelled', 'ended'), ('interrupted', 'ended'), ('lost', 'ended');

CREATE TABLE allowed_transitions (
  from_state TEXT NOT NULL REFERENCES job_states (state),
  to_state TEXT NOT NULL REFERENCES job_states (state),
  meaning TEXT NOT NULL,
  PRIMARY KEY (from_state, to_state)
) WITHOUT ROWID;

INSERT INTO allowed_transitions VALUES
  ('waiting', 'ready', 'nothing hinders it any more'),
  ('ready', 'waiting', 'something came in its way again'),
  ('ready', 'starting', 'claimed: an attempt begins'),
  ('waiting', 'cancelled', 'cancelled before it began'),
  ('ready', 'cancelled', 'cancelled before it began'),
  ('starting', 'running', 'its process gave a sign of life'),
  ('starting', 'stopping', 'asked to stop'),
  ('running', 'stopping', 'asked to stop'),
  ('stopping', 'waiting', 'stopped at a checkpoint, from which it resumes'),
  ('starting', 'done', 'result.json is there'), ('running', 'done', 'result.json is there'),
  ('stopping', 'done', 'it finished before it saw the request'),
  ('starting', 'failed', 'it ended without a result'), ('running', 'failed', 'it ended without a result'),
  ('stopping', 'failed', 'it ended without a result'),
  ('starting', 'cancelled', 'stopped on request'), ('stopping', 'cancelled', 'stopped on request'),
  ('starting', 'interrupted', 'the machine restarted'), ('running', 'interrupted', 'the machine restarted'),
  ('stopping', 'interrupted', 'the machine restarted'),
  ('starting', 'lost', 'nobody saw its end'), ('running', 'lost', 'nobody saw its end'),
  ('stopping', 'lost', 'nobody saw its end'),
  ('failed', 'waiting', 'retried'), ('cancelled', 'waiting', 'retried'),
  ('interrupted', 'waiting', 'retried or requeued'), ('lost', 'waiting', 'retried');

-- Why a running job is asked to stop, and what becomes of it. `stopped_outcome` is its attempt's when the request ended it,
-- `unseen_outcome` the same when nobody saw that end (NULL: such an end is judged as if nothing had been asked). `any_end`: so
-- does every other end without a result. `then_reason_code` is the code that the job gets.
CREATE TABLE stop_reasons (
  stop_reason TEXT PRIMARY KEY,
  then_state TEXT NOT NULL REFERENCES job_states (state),
  then_held INTEGER NOT NULL CHECK (then_held IN (0, 1)),
  stopped_outcome TEXT NOT NULL,
  unseen_outcome TEXT,
  any_end INTEGER NOT NULL CHECK (any_end IN (0, 1)),
  then_reason_code TEXT NOT NULL,
  meaning TEXT NOT NULL,
  CHECK (then_held = 0 OR then_state = 'waiting')
) WITHOUT ROWID;

INSERT INTO stop_reasons VALUES
  ('cancel', 'cancelled', 0, 'cancelled', 'cancelled', 1, 'cancelled', 'a person cancelled it'),
  ('hold', 'waiting', 1, 'stopped', 'interrupted', 0, 'held', 'a person holds it: it waits until it is released'),
  ('disk', 'waiting', 0, 'stopped', 'interrupted', 0, 'disk_was_low', 'the disk was nearly full'),
  ('preempted', 'waiting', 0, 'stopped', 'interrupted', 0, 'preempted', 'a client of the model server needs its GPU'),
  ('watchdog', 'failed', 0, 'failed', NULL, 0, 'watchdog', 'the watchdog found something wrong with the run');

CREATE TABLE jobs (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  kind TEXT NOT NULL,
  title TEXT NOT NULL,
  project_id TEXT NOT NULL,
  task TEXT,
  model TEXT,   -- the base model by name; NULL where there are several
  source TEXT,  -- what the job takes: another job's artefact, or where a pull gets the model from
  lane TEXT NOT NULL CHECK (lane IN ('gpu', 'cpu')),
  host_memory_bytes INTEGER NOT NULL DEFAULT 0 CHECK (host_memory_bytes >= 0),
  device_memory_bytes INTEGER CHECK (device_memory_bytes > 0),
  on_restart TEXT NOT NULL DEFAULT 'requeue' CHECK (on_restart IN ('requeue', 'hold')),
  state TEXT NOT NULL DEFAULT 'waiting' REFERENCES job_states (state),
  reason_code TEXT NOT NULL,
  reason_values TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(reason_values)),
  held INTEGER NOT NULL DEFAULT 0 CHECK (held IN (0, 1)),
  stop_reason TEXT REFERENCES stop_reasons (stop_reason),
  stop_asked_at REAL,
  position REAL NOT NULL,
  attempt INTEGER NOT NULL DEFAULT 0,
  submitted_at REAL NOT NULL,
  started_at REAL,
  ended_at REAL,
  changed_at REAL NOT NULL,
  changed_by TEXT NOT NULL,
  progress TEXT,
  result TEXT,
  CHECK ((state IN ('done', 'failed', 'cancelled', 'interrupted', 'lost')) = (ended_at IS NOT NULL)),
  CHECK (state NOT IN ('starting', 'running', 'stopping') OR attempt > 0),
  CHECK ((state = 'stopping') = (stop_reason IS NOT NULL))
);

CREATE INDEX jobs_by_state ON jobs (state, lane, position);

CREATE TABLE dependencies (
  job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  needs_id INTEGER NOT NULL REFERENCES jobs (id),
  PRIMARY KEY (job_id, needs_id),
  CHECK (needs_id < job_id)  -- a job can only wait for an older one, so no circle is possible
) WITHOUT ROWID;

CREATE TABLE transitions (
  id INTEGER PRIMARY KEY,
  job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  attempt INTEGER NOT NULL,
  from_state TEXT,
  to_state TEXT NOT NULL,
  reason_code TEXT NOT NULL,
  reason_values TEXT NOT NULL,
  author TEXT NOT NULL,
  time REAL NOT NULL
);

CREATE INDEX transitions_by_job ON transitions (job_id, id);

CREATE TRIGGER jobs_begin_queued BEFORE INSERT ON jobs
WHEN NEW.state <> 'waiting'
BEGIN
  SELECT RAISE (ABORT, 'a job begins as waiting');
END;

CREATE TRIGGER jobs_refuse_transition BEFORE UPDATE OF state ON jobs
WHEN OLD.state <> NEW.state
  AND NOT EXISTS (SELECT 1 FROM allowed_transitions WHERE from_state = OLD.state AND to_state = NEW.state)
BEGIN
  SELECT RAISE (ABORT, 'a job cannot go from this state to that one');
END;

CREATE TRIGGER jobs_note_submission AFTER INSERT ON jobs
BEGIN
  INSERT INTO transitions (job_id, attempt, from_state, to_state, reason_code, reason_values, author, time)
  VALUES (NEW.id, 0, NULL, NEW.state, NEW.reason_code, NEW.reason_values, NEW.changed_by, NEW.changed_at);
END;

CREATE TRIGGER jobs_note_transition AFTER UPDATE OF state ON jobs
WHEN OLD.state <> NEW.state
BEGIN
  INSERT INTO transitions (job_id, attempt, from_state, to_state, reason_code, reason_values, author, time)
  VALUES (NEW.id, NEW.attempt, OLD.state, NEW.state, NEW.reason_code, NEW.reason_values, NEW.changed_by, NEW.changed_at);
END;

CREATE TRIGGER jobs_note_hold AFTER UPDATE OF held ON jobs
WHEN OLD.held <> NEW.held AND OLD.state = NEW.state
BEGIN
  INSERT INTO transitions (job_id, attempt, from_state, to_state, reason_code, reason_values, author, time)
  VALUES (NEW.id, NEW.attempt, OLD.state, NEW.state, NEW.reason_code, NEW.reason_values, NEW.changed_by, NEW.changed_at);
END;

CREATE TABLE attempts (
  job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  number INTEGER NOT NULL CHECK (number > 0),
  outcome TEXT CHECK (outcome IN ('done', 'failed', 'cancelled', 'stopped', 'interrupted', 'lost')),
  orphaned INTEGER NOT NULL DEFAULT 0 CHECK (orphaned IN (0, 1)),
  boot_id TEXT NOT NULL,
  protection TEXT NOT NULL DEFAULT '',
  created_at REAL NOT NULL,
  ended_at REAL,
  exit_code INTEGER,
  signal INTEGER,
  events_offset INTEGER NOT NULL DEFAULT 0,
  telemetry TEXT,
  PRIMARY KEY (job_id, number),
  CHECK ((outcome IS NULL) = (ended_at IS NULL))
) WITHOUT ROWID;

CREATE UNIQUE INDEX one_living_attempt ON attempts (job_id) WHERE outcome IS NULL;

CREATE TABLE commands (
  id INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  job_id INTEGER REFERENCES jobs (id) ON DELETE CASCADE,
  arguments TEXT NOT NULL DEFAULT '{}',
  author TEXT NOT NULL,
  created_at REAL NOT NULL,
  done_at REAL,
  refusal_code TEXT,
  refusal_values TEXT CHECK (refusal_values IS NULL OR json_valid(refusal_values))
);

CREATE INDEX commands_open ON commands (id) WHERE done_at IS NULL;

CREATE TABLE queue (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)),
  reason TEXT NOT NULL DEFAULT '',
  author TEXT NOT NULL DEFAULT ''
);

INSERT INTO queue (one) VALUES (1);

CREATE TABLE artefacts (
  sha256 TEXT NOT NULL,
  job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  kind TEXT NOT NULL,
  path TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  lineage TEXT NOT NULL,
  created_at REAL NOT NULL,
  PRIMARY KEY (sha256, job_id)
) WITHOUT ROWID;

CREATE INDEX artefacts_by_job ON artefacts (job_id);

-- Answers and their scores belong to one bake-off. Another one that asks the same of the same weights can get another text
-- (a batch of another size rounds differently), and what was compared then must not change now.
CREATE TABLE answers (
  job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  candidate TEXT NOT NULL,
  input_id TEXT NOT NULL,
  repeat INTEGER NOT NULL,
  key TEXT NOT NULL,
  document TEXT NOT NULL,
  time REAL NOT NULL,
  PRIMARY KEY (job_id, candidate, input_id, repeat)
) WITHOUT ROWID;

CREATE INDEX answers_by_key ON answers (job_id, key);

CREATE TABLE scores (
  job_id INTEGER NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  answer_key TEXT NOT NULL,
  check_hash TEXT NOT NULL,
  check_id TEXT NOT NULL,
  part TEXT NOT NULL CHECK (part IN ('format', 'content')),
  value REAL NOT NULL CHECK (value BETWEEN 0 AND 1),
  detail TEXT NOT NULL DEFAULT '',
  faulty INTEGER NOT NULL DEFAULT 0 CHECK (faulty IN (0, 1)),
  PRIMARY KEY (job_id, answer_key, check_hash)
) WITHOUT ROWID;
