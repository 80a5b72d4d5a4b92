"""The rows of the audit table."""

from __future__ import annotations

from zlib import crc32

from dataflow.core.errors import Corrupted
from dataflow.core.ids import CommandId, Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.cassandra.by_pipeline import Row
from dataflow.journal.cassandra.encoding import from_us, to_us
from dataflow.journal.cassandra.session import Values
from dataflow.journal.contract import Hash, Record

INLINE_BYTES_MAX = 16 << 10
"""Of a payload that is copied; a larger one is read from the log."""

ROW_BYTES = 256
"""Of a row: everything but its payload."""


def from_record(shard: ShardId, bucket: Offset, record: Record) -> Row:
    """Return a record as its row."""
    payload = record.payload if len(record.payload) <= INLINE_BYTES_MAX else None
    time_us = to_us(record.time)
    fields = (record.offset, record.type, time_us, record.actor, record.command_id)
    mark = _mark((record.pipeline, record.sequence, *fields), record.hash, payload or b"")
    return Row(
        shard=shard,
        offset=record.offset,
        pipeline=record.pipeline,
        sequence=record.sequence,
        rest=(bucket, *fields, payload, record.hash, mark),
        size=ROW_BYTES + len(payload or b""),
    )


def to_record(pipeline: PipelineId, row: Values, where: str) -> tuple[Record, Offset | None]:
    """Return a row as its record; with a bucket of the log if its payload is there alone.

    Raises:
        Corrupted: the row is not what was written.
    """
    sequence, bucket, seq, type_, time_us, actor, command_id, payload, hash_, mark = row
    fields = (pipeline, sequence, seq, type_, time_us, actor, command_id)
    if mark != _mark(fields, hash_, payload or b""):
        raise Corrupted(
            f"{where}: event {sequence} of pipeline {pipeline} is not what was written: its mark"
            " differs"
        )
    record = Record(
        offset=Offset(seq),
        pipeline=pipeline,
        sequence=SequenceNumber(sequence),
        type=type_,
        time=from_us(time_us),
        actor=actor,
        command_id=CommandId(command_id),
        payload=payload or b"",
        hash=Hash(hash_),
    )
    return record, Offset(bucket) if payload is None else None


def _mark(fields: tuple[object, ...], hash_: bytes, payload: bytes) -> int:
    text = "\0".join(map(str, fields))
    return crc32(payload, crc32(hash_, crc32(text.encode())))
