-- name: table
SELECT c.oid, n.nspname AS schema, c.relname AS name, c.relkind = 'p' OR c.relkind = 'r' AS plain,
    c.relreplident AS identity,
    c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid) AS inherited
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid = to_regclass($1)

-- name: columns
SELECT a.attname, format_type(a.atttypid, a.atttypmod) AS type, a.attgenerated <> '' AS generated,
    CASE
        WHEN a.attcollation <> y.typcollation THEN ' COLLATE ' || a.attcollation::regcollation
        ELSE ''
    END AS collation
FROM pg_attribute a
JOIN pg_type y ON y.oid = a.atttypid
WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
ORDER BY a.attnum

-- name: keys
SELECT a.attname, i.indisprimary AS primary, i.indisreplident AS identity
FROM pg_index i
CROSS JOIN LATERAL unnest(i.indkey::int2[]) WITH ORDINALITY AS k (number, at)
JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number
WHERE i.indrelid = $1 AND (i.indisprimary OR i.indisreplident) AND k.at <= i.indnkeyatts
ORDER BY k.at

-- name: settings
SELECT current_setting('wal_level') AS wal_level, current_setting('server_encoding') AS encoding

-- name: publication
-- Parts of a table are told by their own names, unless the publication holds the whole.
SELECT t.tablename IS NOT NULL AS covers,
    array_remove(ARRAY[
        CASE WHEN NOT p.pubinsert THEN 'insert' END, CASE WHEN NOT p.pubupdate THEN 'update' END,
        CASE WHEN NOT p.pubdelete THEN 'delete' END, CASE WHEN NOT p.pubtruncate THEN 'truncate' END
    ], NULL) AS untold, to_jsonb(t) ->> 'rowfilter' AS rows,
    ARRAY(
        SELECT a.attname FROM pg_attribute a
        WHERE a.attrelid = format('%I.%I', $2::text, $3::text)::regclass
            AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = ''
            AND NOT (to_jsonb(t) -> 'attnames') ? a.attname::text
        ORDER BY a.attnum
    ) AS hidden
FROM pg_publication p
LEFT JOIN pg_publication_tables t
    ON t.pubname = p.pubname AND t.schemaname = $2 AND t.tablename = $3
WHERE p.pubname = $1

-- name: comment
SELECT obj_description(oid, 'pg_publication') FROM pg_publication WHERE pubname = $1

-- name: slot
SELECT plugin, database, active_pid, wal_status = 'lost' AS lost,
    (confirmed_flush_lsn - '0/0'::pg_lsn)::bigint AS lsn
FROM pg_replication_slots
WHERE slot_name = $1

-- name: end_reader
SELECT pg_terminate_backend(active_pid)
FROM pg_replication_slots
WHERE slot_name = $1 AND active_pid IS NOT NULL

-- name: drop_slot
SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1

-- name: create_slot
SELECT (lsn - '0/0'::pg_lsn)::bigint FROM pg_create_logical_replication_slot($1, 'pgoutput')

-- name: now
SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint

-- name: bounds
-- Of some hundred thousand rows: parts need not be equal.
SELECT percentile_disc({shares}::float8[]) WITHIN GROUP (ORDER BY {key})::text[]
FROM (
    SELECT {key} FROM {table} TABLESAMPLE SYSTEM ({percent})
) s

-- name: size
SELECT greatest(sum(reltuples), 1)::float8 FROM pg_class
WHERE oid = to_regclass($1) OR oid IN (SELECT relid FROM pg_partition_tree(to_regclass($1)))

-- name: snapshot
-- The position is asked for AFTER the snapshot is there: what it shows is before it.
SELECT pg_current_snapshot()::text, pg_export_snapshot()

-- name: as_of
-- Not how far the log is written: a commit that waits for no disk shows before that.
SELECT ((CASE
    WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_insert_lsn()
END) - '0/0'::pg_lsn)::bigint

-- name: largest
SELECT max({cursor})::text FROM {table}

-- name: last
SELECT {texts} FROM {table} WHERE {cursor} IS NOT NULL ORDER BY {descending} LIMIT 1

-- name: has_nulls
SELECT EXISTS (SELECT FROM {table} WHERE {cursor} IS NULL)
