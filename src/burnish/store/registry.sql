BEGIN;

CREATE TABLE artifacts (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL,
  version INTEGER NOT NULL,
  kind TEXT NOT NULL,
  path TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  figures TEXT NOT NULL,
  UNIQUE (name, version)
);

CREATE TABLE lineage (
  child INTEGER NOT NULL REFERENCES artifacts (sequence),
  parent INTEGER NOT NULL REFERENCES artifacts (sequence),
  PRIMARY KEY (child, parent)
) WITHOUT ROWID;

-- One row an alias, so that an alias points to exactly one artifact at any moment.
CREATE TABLE aliases (
  alias TEXT PRIMARY KEY,
  artifact INTEGER NOT NULL REFERENCES artifacts (sequence)
) WITHOUT ROWID;

CREATE TABLE moves (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  alias TEXT NOT NULL,
  before TEXT,
  after TEXT NOT NULL,
  done INTEGER NOT NULL,
  reason TEXT NOT NULL
);

CREATE TABLE verdicts (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  round INTEGER NOT NULL,
  candidate TEXT NOT NULL,
  champion TEXT NOT NULL,
  decision TEXT NOT NULL,
  reason TEXT NOT NULL,
  details TEXT NOT NULL
);

CREATE TABLE feedback (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  key TEXT NOT NULL UNIQUE,
  ref TEXT NOT NULL,
  content TEXT NOT NULL
);

PRAGMA user_version = 1;

COMMIT;
