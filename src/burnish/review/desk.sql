BEGIN;

CREATE TABLE settings (
  content TEXT NOT NULL
);

-- people: how many reviewers it is for; NULL for all of them.
CREATE TABLE items (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  round INTEGER NOT NULL,
  people INTEGER,
  locked INTEGER NOT NULL DEFAULT 0,
  content TEXT NOT NULL
);

CREATE TABLE reviewers (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  name TEXT NOT NULL UNIQUE
);

CREATE TABLE assigned (
  item INTEGER NOT NULL REFERENCES items (sequence),
  reviewer INTEGER NOT NULL REFERENCES reviewers (sequence),
  PRIMARY KEY (item, reviewer)
) WITHOUT ROWID;

CREATE TABLE decisions (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  item INTEGER NOT NULL,
  reviewer INTEGER NOT NULL,
  choice TEXT NOT NULL CHECK (choice IN ('first', 'second', 'tie', 'skip')),
  edited TEXT,
  seconds REAL NOT NULL,
  key TEXT NOT NULL,
  undone INTEGER NOT NULL DEFAULT 0,
  UNIQUE (reviewer, key),
  FOREIGN KEY (item, reviewer) REFERENCES assigned (item, reviewer)
);

-- One standing decision of a reviewer on an item; those that were undone stay for the audit.
CREATE UNIQUE INDEX standing ON decisions (item, reviewer) WHERE undone = 0;

CREATE TABLE settled (
  item INTEGER PRIMARY KEY REFERENCES items (sequence),
  choice TEXT NOT NULL CHECK (choice IN ('first', 'second', 'tie')),
  edited TEXT,
  who TEXT NOT NULL,
  reason TEXT NOT NULL
);

-- Everything that was asked for, what was refused too. Order is by sequence, never by time.
CREATE TABLE audit (
  sequence INTEGER PRIMARY KEY AUTOINCREMENT,
  time TEXT NOT NULL,
  who TEXT NOT NULL,
  action TEXT NOT NULL,
  item TEXT NOT NULL,
  detail TEXT NOT NULL
);

PRAGMA user_version = 1;

COMMIT;
