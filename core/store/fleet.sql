-- The fleet: production names (aliases) on model servers, what each of them was at some time (versions), and every asked move.
-- `server` is a name in the settings, or `llama-server` for a served model of this home (`url` is empty then).
CREATE TABLE aliases (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  server TEXT NOT NULL,
  url TEXT NOT NULL,
  name TEXT NOT NULL,
  name_key TEXT NOT NULL,
  version_id INTEGER,
  since REAL,
  observed_at REAL,
  observed_digest TEXT,
  observed_server_version TEXT,
  observed_error TEXT,
  UNIQUE (server, url, name_key),
  CHECK ((version_id IS NULL) = (since IS NULL)),
  FOREIGN KEY (version_id, id) REFERENCES alias_versions (id, alias_id)
);

-- `digest` is that of Ollama's manifest, or the SHA-256 of a GGUF file that a llama-server serves. `kept_as` is the tag that
-- keeps the version on its server, `record` the served model it was. What is not known of a version is NULL.
CREATE TABLE alias_versions (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  alias_id INTEGER NOT NULL REFERENCES aliases (id) ON DELETE CASCADE,
  number INTEGER NOT NULL CHECK (number > 0),
  digest TEXT,
  weights TEXT,
  template TEXT,
  server_version TEXT,
  size_bytes INTEGER,
  model TEXT,
  source TEXT,
  deploy_job_id INTEGER REFERENCES jobs (id) ON DELETE SET NULL,
  kept_as TEXT,
  record TEXT CHECK (record IS NULL OR json_valid(record)),
  origin TEXT NOT NULL CHECK (origin IN ('adopted', 'promoted', 'found')),
  created_at REAL NOT NULL,
  bakeoff_job_id INTEGER REFERENCES jobs (id) ON DELETE SET NULL,
  UNIQUE (alias_id, number),
  UNIQUE (id, alias_id)
);

-- Which alias answers for a task. An alias may do several tasks; a task has one alias.
CREATE TABLE fleet_tasks (
  project_id TEXT NOT NULL,
  project_root TEXT NOT NULL,
  task TEXT NOT NULL,
  alias_id INTEGER NOT NULL REFERENCES aliases (id) ON DELETE CASCADE,
  since REAL NOT NULL,
  author TEXT NOT NULL,
  PRIMARY KEY (project_id, task)
) WITHOUT ROWID;

CREATE INDEX fleet_tasks_by_alias ON fleet_tasks (alias_id);

-- Every asked move. An open one is the intent that a runner carries on: there is one an alias at most. `kept` is stored before
-- anything is done on the server, and says under which names it keeps what the move replaces and brings; NULL: nothing was done.
CREATE TABLE fleet_changes (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  alias_id INTEGER NOT NULL REFERENCES aliases (id) ON DELETE CASCADE,
  project_id TEXT,
  project_root TEXT,
  task TEXT,
  kind TEXT NOT NULL CHECK (kind IN ('adopt', 'assign', 'release', 'promote', 'rollback')),
  state TEXT NOT NULL CHECK (state IN ('open', 'done', 'taken_back', 'failed')),
  phase TEXT NOT NULL DEFAULT '',
  from_version INTEGER REFERENCES alias_versions (id),
  to_version INTEGER REFERENCES alias_versions (id),
  target TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(target)),
  kept TEXT CHECK (kept IS NULL OR json_valid(kept)),
  gate TEXT CHECK (gate IS NULL OR json_valid(gate)),
  override_reason TEXT,
  author TEXT NOT NULL,
  asked_at REAL NOT NULL,
  ended_at REAL,
  reason_code TEXT,
  reason_values TEXT CHECK (reason_values IS NULL OR json_valid(reason_values)),
  CHECK ((state = 'open') = (ended_at IS NULL))
);

CREATE UNIQUE INDEX one_open_change ON fleet_changes (alias_id) WHERE state = 'open';

CREATE INDEX fleet_changes_by_alias ON fleet_changes (alias_id, id);

-- An ended change is history: nobody opens it again, and nothing of it is written over.
CREATE TRIGGER ended_changes_stay BEFORE UPDATE ON fleet_changes WHEN OLD.state <> 'open'
BEGIN
  SELECT RAISE(ABORT, 'an ended change of the fleet stays as it is');
END;

-- What was noticed of an alias: somebody else's change, a stale verdict, drift.
CREATE TABLE fleet_notes (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  alias_id INTEGER NOT NULL REFERENCES aliases (id) ON DELETE CASCADE,
  task TEXT,
  time REAL NOT NULL,
  code TEXT NOT NULL,
  note_values TEXT NOT NULL DEFAULT '{}' CHECK (json_valid(note_values)),
  change_id INTEGER REFERENCES fleet_changes (id) ON DELETE SET NULL
);

CREATE INDEX fleet_notes_by_alias ON fleet_notes (alias_id, id);

-- A base model held to the whole fleet: a chain of jobs for each task, in the order of what could be gained.
CREATE TABLE challenges (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  model TEXT NOT NULL,
  project_id TEXT NOT NULL,
  author TEXT NOT NULL,
  created_at REAL NOT NULL
);

CREATE TABLE challenge_tasks (
  challenge_id INTEGER NOT NULL REFERENCES challenges (id) ON DELETE CASCADE,
  task TEXT NOT NULL,
  chain_id INTEGER REFERENCES chains (id) ON DELETE SET NULL,
  place INTEGER NOT NULL CHECK (place > 0),
  gain REAL,
  PRIMARY KEY (challenge_id, task),
  UNIQUE (challenge_id, place)
) WITHOUT ROWID;
