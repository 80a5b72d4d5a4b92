-- name: applied
SELECT shard, offset FROM applied

-- name: save_applied
INSERT INTO applied (shard, offset)
VALUES (?, ?)
ON CONFLICT (shard) DO UPDATE SET offset = max(offset, excluded.offset)

-- name: save_pipelines
INSERT INTO pipelines
    (id, sequence, name, status, labels, source_type, sink_type, version, created_us, updated_us,
     searched)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    sequence = excluded.sequence,
    name = excluded.name,
    status = excluded.status,
    labels = excluded.labels,
    source_type = excluded.source_type,
    sink_type = excluded.sink_type,
    version = excluded.version,
    created_us = excluded.created_us,
    updated_us = excluded.updated_us,
    searched = excluded.searched
WHERE excluded.sequence > pipelines.sequence

-- name: save_events
INSERT INTO events (pipeline, sequence, type, time_us, version, shard, offset)
VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (pipeline, sequence) DO NOTHING

-- name: pipelines
SELECT id, name, status, labels, source_type, sink_type, version, created_us, updated_us
FROM pipelines
WHERE id > :after
  AND CASE WHEN :status = '' THEN status <> 'deleted' ELSE status = :status END
  AND (:label = '' OR EXISTS (
      SELECT 1 FROM json_each(labels)
      WHERE key = :label AND (:any_value OR value = :value)
  ))
  AND (:text = '' OR instr(searched, :text) > 0)
ORDER BY id
LIMIT :limit

-- name: total
SELECT count(*)
FROM pipelines
WHERE CASE WHEN :status = '' THEN status <> 'deleted' ELSE status = :status END
  AND (:label = '' OR EXISTS (
      SELECT 1 FROM json_each(labels)
      WHERE key = :label AND (:any_value OR value = :value)
  ))
  AND (:text = '' OR instr(searched, :text) > 0)

-- name: events
SELECT pipeline, sequence, type, time_us, version, shard, offset
FROM events
WHERE pipeline = :pipeline
  AND sequence > :after
  AND (:types = '[]' OR type IN (SELECT value FROM json_each(:types)))
ORDER BY sequence
LIMIT :limit

-- name: versions
SELECT pipeline, sequence, type, time_us, version, shard, offset
FROM events
WHERE pipeline = :pipeline AND version > 0 AND (:before = 0 OR version < :before)
ORDER BY sequence DESC
LIMIT :limit

-- name: latest
SELECT pipeline, sequence, type, time_us, version, shard, offset
FROM events
WHERE pipeline = :pipeline
  AND sequence <= :sequence
  AND time_us <= :time_us
  AND (:types = '[]' OR type IN (SELECT value FROM json_each(:types)))
ORDER BY sequence DESC
LIMIT 1
