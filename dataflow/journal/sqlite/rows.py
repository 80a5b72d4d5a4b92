"""Records, decisions and snapshots as rows, each with a mark that shows damage.

A record's hash covers its payload and its place. What else stands in its row is for finding it:
a CRC-32 over that is enough against a flipped bit, and costs less than half a microsecond.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from zlib import crc32

from dataflow.core.errors import Corrupted
from dataflow.core.ids import CommandId, Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.contract import Decision, Hash, Held, Record, Snapshot
from dataflow.journal.sqlite.statements import Row

RecordRow: TypeAlias = tuple[int, int, str, int, str, int, str, str, bytes, bytes, int]

CHUNK_BYTES = 256 * 1024
"""Of a snapshot: SQLite reads and writes a large value through a list of overflow pages, and a
chunk is as much of it as stays in the cache."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def from_record(shard: ShardId, record: Record) -> RecordRow:
    """Return a record as its row."""
    time_us = (record.time - _EPOCH) // _MICROSECOND
    return (
        shard,
        record.offset,
        record.pipeline,
        record.sequence,
        record.type,
        time_us,
        record.actor,
        record.command_id,
        record.payload,
        record.hash,
        _mark(record, time_us),
    )


def to_record(row: RecordRow, file: str) -> Record:
    """Return a row as its record.

    Raises:
        Corrupted: the row is not what was written.
    """
    _, offset, pipeline, sequence, type_, time_us, actor, command_id, payload, hash_, mark = row
    try:
        record = Record(
            offset=Offset(offset),
            pipeline=PipelineId(pipeline),
            sequence=SequenceNumber(sequence),
            type=type_,
            time=_EPOCH + timedelta(microseconds=time_us),
            actor=actor,
            command_id=CommandId(command_id),
            payload=memoryview(payload).tobytes(),
            hash=Hash(hash_),
        )
        sound = mark == _mark(record, time_us)
    except (OverflowError, TypeError) as error:
        # SQLite types values, not columns: damage can turn one into another type.
        raise _damaged(row, file) from error
    if not sound:
        raise _damaged(row, file)
    return record


def _damaged(row: RecordRow, file: str) -> Corrupted:
    return Corrupted(
        f"{file}, shard {row[0]}: record {row[1]} is not what was written: its mark differs"
    )


def _mark(record: Record, time_us: int) -> int:
    text = (
        f"{record.pipeline}\0{record.sequence}\0{record.type}\0{time_us}\0{record.actor}\0"
        f"{record.command_id}"
    )
    return crc32(text.encode())


def from_decision(decision: Decision) -> Row:
    """Return a decision as the row of its register."""
    run, number = decision.stamp.run, decision.stamp.number
    mark = register_mark(run, number, decision.payload)
    return (decision.pipeline, run, number, decision.payload, mark)


def register_mark(run: int, number: int, payload: bytes) -> int:
    """Return the mark of what a register holds."""
    return crc32(payload, crc32(f"{run}\0{number}".encode()))


def from_snapshot(held: Held, snapshot: Snapshot) -> list[Row]:
    """Return a snapshot as the rows of its chunks; one at least."""
    mark = crc32(snapshot.payload)
    return [
        (held.shard, snapshot.offset, start // CHUNK_BYTES, snapshot.hash, mark, chunk)
        for start in range(0, len(snapshot.payload) or 1, CHUNK_BYTES)
        for chunk in [snapshot.payload[start : start + CHUNK_BYTES]]
    ]
