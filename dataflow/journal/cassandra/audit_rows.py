"""The rows of the audit table, and the requests that write them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple, TypeAlias
from zlib import crc32

from dataflow.core.errors import Corrupted
from dataflow.core.ids import CommandId, Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.cassandra.encoding import from_us, to_us
from dataflow.journal.cassandra.session import Values
from dataflow.journal.contract import Hash, Record

PART_EVENTS = 10_000
"""Of one partition, as of a bucket and for the same reason."""

INLINE_BYTES_MAX = 16 << 10
"""Of a payload that is copied; a larger one is read from the log."""

ROW_BYTES = 256
"""Of a row: everything but its payload."""

REQUEST_BYTES_MAX, REQUEST_PIPELINES_MAX = 32 << 10, 10
"""Of one request: servers warn of batches over more than ten partitions."""

Request: TypeAlias = Sequence[tuple[str, Values]]


class Waiting(NamedTuple):
    """A record, and where it is."""

    shard: ShardId
    bucket: Offset
    record: Record


def requests(taken: Sequence[Waiting]) -> Iterator[Sequence[Request]]:
    """Yield requests that may be written at once, and chains of them that must be in order.

    A request that holds all of a pipeline's rows shows them together or not at all, for they are in
    one partition; what does not fit one is written from its beginning on.
    """
    by_pipeline: dict[PipelineId, list[Waiting]] = defaultdict(list)
    for one in taken:
        by_pipeline[one.record.pipeline].append(one)
    shared: list[tuple[str, Values]] = []
    size = pipelines = 0
    for mine in by_pipeline.values():
        chain = list(_chain(mine))
        if len(chain) > 1:
            yield [request for request, _ in chain]
            continue
        ((request, own),) = chain
        if shared and (size + own > REQUEST_BYTES_MAX or pipelines == REQUEST_PIPELINES_MAX):
            yield [shared]
            shared, size, pipelines = [], 0, 0
        shared += request
        size += own
        pipelines += 1
    if shared:
        yield [shared]


def _chain(mine: Sequence[Waiting]) -> Iterator[tuple[Request, int]]:
    """Cut one pipeline's rows into requests on one partition each, with their sizes."""
    request: list[tuple[str, Values]] = []
    size, part = 0, -1
    for one in mine:
        row = _row(one)
        own = ROW_BYTES + len(row[10] or b"")
        if request and (size + own > REQUEST_BYTES_MAX or row[1] != part):
            yield request, size
            request, size = [], 0
        request.append(("audit", row))
        size += own
        part = row[1]
    yield request, size


def _row(one: Waiting) -> Values:
    r = one.record
    part = (r.sequence - 1) // PART_EVENTS
    payload = r.payload if len(r.payload) <= INLINE_BYTES_MAX else None
    fields = (r.pipeline, r.sequence, r.offset, r.type, to_us(r.time), r.actor, r.command_id)
    mark = _mark(fields, r.hash, payload or b"")
    place = (r.pipeline, part, r.sequence, one.shard, one.bucket)
    return (*place, *fields[2:], payload, r.hash, mark)


def _mark(fields: tuple[object, ...], hash_: bytes, payload: bytes) -> int:
    text = "\0".join(map(str, fields))
    return crc32(payload, crc32(hash_, crc32(text.encode())))


def to_record(
    pipeline: PipelineId, row: Values, where: str
) -> tuple[Record, tuple[ShardId, Offset] | None]:
    """Return a row as its record; with shard and bucket if its payload is in the log alone.

    Raises:
        Corrupted: the row is not what was written.
    """
    sequence, shard, bucket, seq, type_, time_us, actor, command_id, payload, hash_, mark = row
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
    return record, (ShardId(shard), Offset(bucket)) if payload is None else None
