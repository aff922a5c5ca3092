-- Every query of the store but the schema. `name:` is how the code calls one.

-- name: insert_run
-- A new run, before its first event.
INSERT INTO runs (
    run_id, plan, org, plan_digest, dry_run, created_at, updated_at, state, sessions, events, head
) VALUES (
    :run_id, :plan, :org, :plan_digest, :dry_run, :at, :at, 'running', 0, 0, :head
);

-- name: insert_job
INSERT INTO jobs (run, position, name, record) VALUES (:run, :position, :name, :record);

-- name: insert_target
INSERT INTO targets (run, job, position, app, tags) VALUES (?, ?, ?, ?, ?);

-- name: insert_event
INSERT INTO events (run, seq, at, kind, body, hash) VALUES (?, ?, ?, ?, ?, ?);

-- name: select_tip
SELECT events, head FROM runs WHERE number = ?;

-- name: advance_run
UPDATE runs SET events = ?, head = ?, updated_at = ? WHERE number = ?;

-- name: settle_target
UPDATE targets SET status = :status, settled = :seq, staged_at = :staged_at
WHERE run = :run AND job = :job AND app = :app;

-- name: clear_waves
UPDATE targets SET wave = NULL WHERE run = :run AND job = :job;

-- name: assign_wave
-- The next targets of the job, behind the last one of the wave that was assigned just before.
UPDATE targets SET wave = :wave
WHERE run = :run AND job = :job AND position IN (
    SELECT position FROM targets
    WHERE run = :run AND job = :job AND position > coalesce((
        SELECT max(position) FROM targets WHERE run = :run AND job = :job AND wave = :before
    ), -1)
    ORDER BY position
    LIMIT :number
);

-- name: acknowledge
UPDATE targets SET acknowledged = coalesce(acknowledged, :seq)
WHERE run = :run AND job = :job AND app = :app;

-- name: note_activation
UPDATE targets SET
    activation = :state, activation_seq = :seq, activation_at = :activation_at,
    activation_retryable = :retryable
WHERE run = :run AND job = :job AND app = :app;

-- name: note_source
UPDATE jobs SET record = :record WHERE run = :run AND position = :job;

-- name: change_plan
UPDATE runs SET plan_digest = :plan_digest WHERE number = :run;

-- name: start_session
UPDATE runs SET state = 'running', sessions = sessions + 1, stop = NULL, exit_code = NULL
WHERE number = :run;

-- name: end_session
UPDATE runs SET state = :state, stop = :stop, exit_code = :exit_code WHERE number = :run;

-- name: remove_target
-- One that holds the key keeps it, so it stays; so does one whose activation was begun.
DELETE FROM targets WHERE run = ? AND job = ? AND app = ?
AND (status IS NULL OR status IN ('failed', 'skipped')) AND activation IS NULL;

-- name: last_positions
SELECT job, max(position) FROM targets WHERE run = ? GROUP BY job;

-- name: delete_run
DELETE FROM runs WHERE number = ?;

-- name: select_runs
SELECT
    number, run_id, plan, org, plan_digest, dry_run, created_at, updated_at, state, sessions,
    stop, exit_code, events, head
FROM runs
WHERE (:plan IS NULL OR plan = :plan) AND (:org IS NULL OR org = :org)
ORDER BY number DESC;

-- name: find_runs
-- The run of that id, or those whose id begins so; newest first, two are enough to know.
SELECT
    number, run_id, plan, org, plan_digest, dry_run, created_at, updated_at, state, sessions,
    stop, exit_code, events, head
FROM runs
WHERE :name = 'latest' OR run_id = :name OR substr(run_id, 1, length(:name)) = :name
ORDER BY run_id = :name DESC, number DESC
LIMIT 2;

-- name: select_jobs
SELECT position, name, record FROM jobs WHERE run = ? ORDER BY position;

-- name: pending_page
SELECT position, app, tags FROM targets
-- What did not work out is to be tried again. A page is never read twice, so that what fails now
-- does not come back in this session.
WHERE run = :run AND job = :job AND position > :after
AND (status IS NULL OR status IN ('failed', 'skipped'))
ORDER BY position
LIMIT :most;

-- name: wave_page
-- As targets_page, of one wave: what is staged, and whose activation is in one of two states, or not
-- begun. A page is never read twice, as with pending_page.
SELECT
    t.job, t.position, t.app, t.tags, t.wave, t.acknowledged,
    t.settled, outcome.kind, outcome.body, t.activation_seq, activation.kind, activation.body
FROM targets AS t
LEFT JOIN events AS outcome ON outcome.run = t.run AND outcome.seq = t.settled
LEFT JOIN events AS activation ON activation.run = t.run AND activation.seq = t.activation_seq
WHERE t.run = :run AND t.job = :job AND t.wave = :wave AND t.position > :after
AND t.status IN ('cloned', 'generated', 'already_present')
AND (t.activation IN (:first, :second) OR (t.activation IS NULL AND :unbegun))
ORDER BY t.position
LIMIT :most;

-- name: targets_page
SELECT
    t.job, t.position, t.app, t.tags, t.wave, t.acknowledged,
    t.settled, outcome.kind, outcome.body, t.activation_seq, activation.kind, activation.body
FROM targets AS t
LEFT JOIN events AS outcome ON outcome.run = t.run AND outcome.seq = t.settled
LEFT JOIN events AS activation ON activation.run = t.run AND activation.seq = t.activation_seq
WHERE t.run = :run AND (t.job, t.position) > (:job, :after)
ORDER BY t.job, t.position
LIMIT :most;

-- name: settled_page
SELECT t.job, t.position, t.app, e.kind, e.body
FROM targets AS t
LEFT JOIN events AS e ON e.run = t.run AND e.seq = t.settled
WHERE t.run = :run AND (t.job, t.position) > (:job, :after) AND t.status IS NOT NULL
ORDER BY t.job, t.position
LIMIT :most;

-- name: staged_page
-- As settled_page, of one job: what holds the key.
SELECT t.position, t.app, e.kind, e.body
FROM targets AS t
LEFT JOIN events AS e ON e.run = t.run AND e.seq = t.settled
WHERE t.run = :run AND t.job = :job AND t.position > :after
AND t.status IN ('cloned', 'generated', 'already_present')
ORDER BY t.position
LIMIT :most;

-- name: projection_page
SELECT
    job, position, app, tags, status, settled, staged_at, wave, acknowledged,
    activation, activation_seq, activation_at, activation_retryable
FROM targets
WHERE run = :run AND (job, position) > (:job, :after)
ORDER BY job, position
LIMIT :most;

-- name: find_acknowledged
SELECT acknowledged FROM targets WHERE run = ? AND job = ? AND app = ?;

-- name: wave_sizes
SELECT wave, count(*) FROM targets WHERE run = ? AND job = ? GROUP BY wave;

-- name: count_waves
-- One row for each wave and state of an activation in it.
SELECT
    wave,
    activation,
    count(*),
    count(staged),
    count(CASE WHEN status IN ('failed', 'skipped') THEN 1 END),
    count(CASE
        WHEN staged AND acknowledged IS NULL
        AND (activation IS NULL OR activation IN ('intended', 'failed')) THEN 1
    END),
    count(CASE WHEN staged AND activation = 'failed' AND NOT activation_retryable THEN 1 END),
    max(staged_at),
    max(activation_at)
FROM (
    SELECT *, CASE WHEN status IN ('cloned', 'generated', 'already_present') THEN 1 END AS staged
    FROM targets WHERE run = :run AND job = :job AND wave IS NOT NULL
)
GROUP BY wave, activation
ORDER BY wave;

-- name: delete_snapshot
DELETE FROM snapshots WHERE plan = ? AND org = ?;

-- name: insert_snapshot
-- Two jobs may have one target: it was seen twice.
INSERT OR REPLACE INTO snapshots (plan, org, app, record) VALUES (?, ?, ?, ?);

-- name: snapshot_page
SELECT app, record FROM snapshots
WHERE plan = :plan AND org = :org AND app > :after
ORDER BY app
LIMIT :most;

-- name: find_certificate
SELECT record FROM certificates WHERE org = ? AND kid = ?;

-- name: find_certificates
-- `kids` is a JSON list. Every org that has shown one of them has a row.
SELECT DISTINCT kid, record FROM certificates
WHERE kid IN (SELECT value FROM json_each(:kids));

-- name: keep_certificate
-- A row that is there already could not be read.
INSERT OR REPLACE INTO certificates (org, kid, record) VALUES (?, ?, ?);

-- name: events_page
SELECT seq, at, kind, body, hash FROM events
WHERE run = :run AND seq > :after AND (:kind IS NULL OR kind = :kind)
ORDER BY seq
LIMIT :most;

-- name: seldom_events_page
-- As events_page, of a kind that most events are not: see the index events_by_kind.
SELECT seq, at, kind, body, hash FROM events
WHERE run = :run AND kind = :kind AND seq > :after
AND kind NOT IN ('target_settled', 'activation_noted')
ORDER BY seq
LIMIT :most;

-- name: count_targets
SELECT status, count(*) FROM targets WHERE run = ? GROUP BY status;

-- name: broken_ends
-- Runs whose last event is not the one that the run's row names: the end of the file is lost.
SELECT run_id FROM runs AS r
WHERE r.events > 0 AND NOT EXISTS (
    SELECT 1 FROM events AS e WHERE e.run = r.number AND e.seq = r.events AND e.hash = r.head
);
