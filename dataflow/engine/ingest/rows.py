"""Rows as they are stored: one Arrow IPC message a batch, under a schema stored once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import pyarrow as pa

from dataflow.connect.batches import one_batch
from dataflow.engine.ingest.frame import Frame


@lru_cache(maxsize=64)
def read_schema(stored: bytes) -> pa.Schema:
    """Return a schema from the bytes that ``write_schema`` made."""
    return pa.ipc.read_schema(pa.py_buffer(stored))


def write_schema(schema: pa.Schema) -> bytes:
    """Return a schema as bytes; equal schemas give equal bytes."""
    return schema.serialize().to_pybytes()


def write_rows(batch: pa.RecordBatch) -> bytes:
    """Return the body of a frame."""
    return batch.serialize().to_pybytes()


def from_frames(frames: Sequence[Frame], schema: bytes, start: int) -> pa.RecordBatch:
    """Return the records of consecutive frames from ``start`` on as one batch."""
    arrow = read_schema(schema)
    batches = [pa.ipc.read_record_batch(pa.py_buffer(frame.body), arrow) for frame in frames]
    whole = batches[0] if len(batches) == 1 else one_batch(pa.Table.from_batches(batches, arrow))
    return whole.slice(max(start - frames[0].first, 0))
