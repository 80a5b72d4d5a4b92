-- name: create
CREATE TABLE IF NOT EXISTS {table} (
    pipeline text NOT NULL,
    task integer NOT NULL,
    lineage bigint NOT NULL,
    claimed bigint NOT NULL,
    run bigint NOT NULL,
    number bigint NOT NULL,
    decision text NOT NULL,
    PRIMARY KEY (pipeline, task)
)

-- name: exists
SELECT to_regclass($1) IS NOT NULL

-- name: end_older
-- A frozen process keeps its locks; its session is the server's to end, whatever became of it.
SELECT pg_terminate_backend(pid)
FROM pg_stat_activity
WHERE pid <> pg_backend_pid()
    AND datname = current_database()
    AND usename = current_user
    AND CASE WHEN application_name ~ $1 -- CASE, for AND may look at the number first
        THEN CAST(split_part(application_name, ' ', 4) AS bigint) < $2
        ELSE false
    END

-- name: held
SELECT lineage, claimed, decision FROM {table} WHERE pipeline = $1 AND task = $2 FOR UPDATE

-- name: insert
INSERT INTO {table} (pipeline, task, lineage, claimed, run, number, decision)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (pipeline, task) DO NOTHING

-- name: claim
UPDATE {table} SET lineage = $3, claimed = $4, run = $5, number = $6, decision = $7
WHERE pipeline = $1 AND task = $2

-- name: claimed
SELECT claimed FROM {table} WHERE pipeline = $1 AND task = $2

-- name: decide
UPDATE {table} SET run = $6, number = $7, decision = $8
WHERE pipeline = $1 AND task = $2 AND claimed = $3 AND run = $4 AND number = $5
