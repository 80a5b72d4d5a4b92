-- name: load_ends
-- One row of JSON and not many rows: each row costs the writer the interpreter's lock once.
SELECT json_group_array(json_array(shard, fence, nonce, offset, hex(head), append_id))
FROM shards
WHERE shard IN (SELECT value FROM json_each(:shards))

-- name: save_ends
INSERT INTO shards (shard, fence, nonce, offset, head, append_id)
VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (shard) DO UPDATE SET
    fence = excluded.fence,
    nonce = excluded.nonce,
    offset = excluded.offset,
    head = excluded.head,
    append_id = excluded.append_id

-- name: append
INSERT INTO log
    (shard, offset, pipeline, sequence, type, time_us, actor, command_id, payload, hash, mark)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)

-- name: index_by_shard
INSERT INTO by_shard (shard, offset, position)
SELECT shard, offset, position FROM log
WHERE position > (SELECT indexed FROM meta)
ORDER BY shard, offset

-- name: index_by_pipeline
INSERT INTO by_pipeline (pipeline, sequence, position)
SELECT pipeline, sequence, position FROM log
WHERE position > (SELECT indexed FROM meta)
ORDER BY pipeline, sequence

-- name: indexed
-- Only where it changes: a reader that finds nothing new must not cost a commit.
UPDATE meta SET indexed = (SELECT max(position) FROM log)
WHERE indexed < (SELECT max(position) FROM log)

-- name: unindexed
SELECT coalesce(max(position), 0) - (SELECT indexed FROM meta) FROM log

-- name: ends
SELECT shard, fence, nonce, offset, head, append_id FROM shards ORDER BY shard

-- name: read
SELECT l.shard, l.offset, l.pipeline, l.sequence, l.type, l.time_us, l.actor, l.command_id,
       l.payload, l.hash, l.mark
FROM by_shard AS i
JOIN log AS l ON l.position = i.position
WHERE i.shard = :shard AND i.offset > :after
ORDER BY i.offset
LIMIT :limit

-- name: newest
SELECT shard, offset, pipeline, sequence, type, time_us, actor, command_id, payload, hash, mark
FROM log
ORDER BY position DESC
LIMIT :limit

-- name: history
SELECT l.shard, l.offset, l.pipeline, l.sequence, l.type, l.time_us, l.actor, l.command_id,
       l.payload, l.hash, l.mark,
       (SELECT p.hash FROM by_shard AS b JOIN log AS p ON p.position = b.position
        WHERE b.shard = l.shard AND b.offset = l.offset - 1)
FROM by_pipeline AS i
JOIN log AS l ON l.position = i.position
WHERE i.pipeline = :pipeline AND i.sequence > :after
ORDER BY i.sequence
LIMIT :limit

-- name: hash_at
SELECT l.hash
FROM by_shard AS i
JOIN log AS l ON l.position = i.position
WHERE i.shard = :shard AND i.offset = :offset

-- name: load_stamps
SELECT json_group_array(json_array(pipeline, run, number))
FROM registers
WHERE pipeline IN (SELECT value FROM json_each(:pipelines))

-- name: decide
INSERT INTO registers (pipeline, run, number, payload, mark)
VALUES (?, ?, ?, ?, ?)
ON CONFLICT (pipeline) DO UPDATE SET
    run = excluded.run,
    number = excluded.number,
    payload = excluded.payload,
    mark = excluded.mark

-- name: decision
SELECT run, number, payload, mark FROM registers WHERE pipeline = :pipeline

-- name: drop_snapshot
DELETE FROM snapshots WHERE shard = :shard AND offset = :offset

-- name: save_snapshot
INSERT INTO snapshots (shard, offset, chunk, hash, mark, payload) VALUES (?, ?, ?, ?, ?, ?)

-- name: drop_old_snapshots
DELETE FROM snapshots
WHERE shard = :shard AND offset NOT IN (
    SELECT DISTINCT offset FROM snapshots WHERE shard = :shard ORDER BY offset DESC LIMIT :kept
)

-- name: snapshots
SELECT DISTINCT offset, hash, mark FROM snapshots WHERE shard = :shard ORDER BY offset DESC

-- name: snapshot_chunks
SELECT payload FROM snapshots WHERE shard = :shard AND offset = :offset ORDER BY chunk
