-- name: find
SELECT n.nspname, c.relname
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass($1)

-- name: columns
SELECT attname, format_type(atttypid, atttypmod), format_type(atttypid, -1)
FROM pg_attribute
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped
ORDER BY attnum

-- name: one_at_a_time
-- Who creates the same table at the same moment waits for the first one's transaction, and finds it:
-- else the second would fail on a catalog's index.
SELECT pg_advisory_xact_lock(hashtext($1))

-- name: stage
-- It is the session's, and empties at each COMMIT.
DROP TABLE IF EXISTS pg_temp.dataflow_stage;
CREATE TEMPORARY TABLE dataflow_stage ({columns}) ON COMMIT DELETE ROWS

-- name: delete
-- Before the others: a row may take over a unique value of one that goes.
DELETE FROM {table} t
USING (
    SELECT DISTINCT ON ({keys}) * FROM pg_temp.dataflow_stage ORDER BY {keys}, dataflow_row DESC
) s
WHERE s.dataflow_deleted AND {same}

-- name: upsert
-- Keys are taken in order, so that two pipelines over one table do not wait in a circle.
INSERT INTO {table} ({names})
SELECT {names}
FROM (
    SELECT DISTINCT ON ({keys}) * FROM pg_temp.dataflow_stage ORDER BY {keys}, dataflow_row DESC
) s
WHERE NOT s.dataflow_deleted
ORDER BY {keys}
ON CONFLICT ({keys}) DO {update}

-- name: clear
TRUNCATE pg_temp.dataflow_stage
