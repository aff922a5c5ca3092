-- Runs, their jobs and targets, and the history that these tables sum up.

CREATE TABLE runs (
    number INTEGER PRIMARY KEY,  -- in order of creation; short, so that the large tables stay small
    run_id TEXT NOT NULL UNIQUE,
    plan TEXT NOT NULL,
    org TEXT NOT NULL,
    plan_digest TEXT NOT NULL,
    dry_run INTEGER NOT NULL CHECK (dry_run IN (0, 1)),
    created_at TEXT NOT NULL,  -- ISO 8601, UTC
    updated_at TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'stopped', 'finished')),
    sessions INTEGER NOT NULL,
    stop TEXT,  -- JSON of a StopRecord
    exit_code INTEGER,
    events INTEGER NOT NULL,  -- with `head`, the end of the chain: tells a cut-off history
    head BLOB NOT NULL
);

CREATE TABLE jobs (
    run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    record TEXT NOT NULL,  -- JSON of a JobRecord
    PRIMARY KEY (run, position),
    UNIQUE (run, name)
) WITHOUT ROWID;

-- The history. `hash` covers the one before it; see chain.py.
CREATE TABLE events (
    run INTEGER NOT NULL REFERENCES runs (number) ON DELETE CASCADE,
    seq INTEGER NOT NULL,
    at TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,  -- canonical JSON
    hash BLOB NOT NULL,
    PRIMARY KEY (run, seq)
) WITHOUT ROWID;

-- What the history says of each target. `settled` is the seq of the event with its outcome.
CREATE TABLE targets (
    run INTEGER NOT NULL,
    job INTEGER NOT NULL,
    position INTEGER NOT NULL,  -- the order within the job; removed targets leave gaps
    app TEXT NOT NULL,
    tags TEXT NOT NULL,  -- JSON
    status TEXT,  -- NULL: pending
    settled INTEGER,
    PRIMARY KEY (run, job, position),
    UNIQUE (run, job, app),
    FOREIGN KEY (run, job) REFERENCES jobs (run, position) ON DELETE CASCADE,
    CHECK ((status IS NULL) = (settled IS NULL))
) WITHOUT ROWID;

CREATE TRIGGER events_are_not_changed BEFORE UPDATE ON events
BEGIN
    SELECT RAISE(ABORT, 'events are append-only');
END;

-- Deleting a whole run deletes its row of `runs` first, and then its events.
CREATE TRIGGER events_are_not_removed BEFORE DELETE ON events
WHEN EXISTS (SELECT 1 FROM runs WHERE number = OLD.run)
BEGIN
    SELECT RAISE(ABORT, 'events are append-only');
END;
