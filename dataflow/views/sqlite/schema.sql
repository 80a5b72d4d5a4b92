-- Another version of this file is another VERSION in file.py: the views are then built again.

CREATE TABLE applied (
    shard  INTEGER PRIMARY KEY,
    offset INTEGER NOT NULL
);

CREATE TABLE pipelines (
    id          TEXT PRIMARY KEY,
    sequence    INTEGER NOT NULL,
    name        TEXT NOT NULL,
    status      TEXT NOT NULL,
    labels      TEXT NOT NULL, -- a JSON object
    source_type TEXT NOT NULL,
    sink_type   TEXT NOT NULL,
    version     INTEGER NOT NULL,
    created_us  INTEGER NOT NULL,
    updated_us  INTEGER NOT NULL,
    searched    TEXT NOT NULL
) WITHOUT ROWID;

CREATE TABLE events (
    pipeline TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    type     TEXT NOT NULL,
    time_us  INTEGER NOT NULL,
    version  INTEGER NOT NULL,
    shard    INTEGER NOT NULL,
    offset   INTEGER NOT NULL,
    PRIMARY KEY (pipeline, sequence)
) WITHOUT ROWID;
