-- How staged keys become active: waves, acknowledgements and activations, as the history says; and
-- what previews saw, which is no part of any history.

ALTER TABLE targets ADD COLUMN staged_at TEXT;  -- NULL: not staged; UTC, so that text sorts as time
ALTER TABLE targets ADD COLUMN wave INTEGER;  -- from 1; NULL: not to be activated
ALTER TABLE targets ADD COLUMN acknowledged INTEGER;  -- seq of the first event that says so
ALTER TABLE targets ADD COLUMN activation TEXT;  -- its state; NULL: not begun
ALTER TABLE targets ADD COLUMN activation_seq INTEGER  -- of the event that holds it whole
    CHECK ((activation IS NULL) = (activation_seq IS NULL));
ALTER TABLE targets ADD COLUMN activation_at TEXT;  -- as `staged_at`
ALTER TABLE targets ADD COLUMN activation_retryable INTEGER;

-- `staged_at` is a function of the program: it reads the outcome in the body of an event.
UPDATE targets SET staged_at = (
    SELECT staged_at(e.body) FROM events AS e WHERE e.run = targets.run AND e.seq = targets.settled
) WHERE status IN ('cloned', 'already_present');

-- Runs that only stage have no entry here, and pay nothing for it.
CREATE INDEX targets_by_wave ON targets (run, job, wave, position) WHERE wave IS NOT NULL;

-- What happens seldom is found without reading what happens to every target. Those events have no
-- entry here, and pay nothing for it.
CREATE INDEX events_by_kind ON events (run, kind, seq)
WHERE kind NOT IN ('target_settled', 'activation_noted');

-- What the last preview of a plan saw, for a later run to tell what has changed since.
CREATE TABLE snapshots (
    plan TEXT NOT NULL,
    org TEXT NOT NULL,
    app TEXT NOT NULL,
    record TEXT NOT NULL,  -- JSON of an AppSnapshot
    PRIMARY KEY (plan, org, app)
) WITHOUT ROWID;
