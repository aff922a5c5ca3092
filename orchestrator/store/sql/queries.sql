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
UPDATE targets SET status = :status, settled = :seq
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
-- One that holds the key keeps it, so it stays.
DELETE FROM targets WHERE run = ? AND job = ? AND app = ?
AND (status IS NULL OR status IN ('failed', 'skipped'));

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

-- name: targets_page
SELECT t.job, t.position, t.app, t.tags, t.status, t.settled, e.kind, e.body
FROM targets AS t
LEFT JOIN events AS e ON e.run = t.run AND e.seq = t.settled
WHERE t.run = :run AND (t.job, t.position) > (:job, :after)
ORDER BY t.job, t.position
LIMIT :most;

-- name: settled_page
-- As targets_page, without the pending ones.
SELECT t.job, t.position, t.app, t.tags, t.status, t.settled, e.kind, e.body
FROM targets AS t
LEFT JOIN events AS e ON e.run = t.run AND e.seq = t.settled
WHERE t.run = :run AND (t.job, t.position) > (:job, :after) AND t.status IS NOT NULL
ORDER BY t.job, t.position
LIMIT :most;

-- name: projection_page
SELECT job, position, app, tags, status, settled FROM targets
WHERE run = :run AND (job, position) > (:job, :after)
ORDER BY job, position
LIMIT :most;

-- name: events_page
SELECT seq, at, kind, body, hash FROM events
WHERE run = :run AND seq > :after AND (:kind IS NULL OR kind = :kind)
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
