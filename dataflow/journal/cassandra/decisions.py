"""Decisions as rows of the registers' table, and as many of them as fit a batch."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from zlib import crc32

from dataflow.core.ids import PipelineId, ShardId
from dataflow.journal.cassandra.log import BATCH_BYTES_MAX
from dataflow.journal.cassandra.session import Values
from dataflow.journal.contract import Decision

INLINE_BYTES_MAX = 16 << 10
"""Of one payload: two and more of the largest then fit a batch."""

ROW_BYTES = 256
"""Of one decision in a batch: everything but its payload and its pipeline's id."""


class Writing(NamedTuple):
    """A decision on its way into a batch."""

    decision: Decision
    value: bytes | None


def parts_of(decisions: Sequence[Decision]) -> Iterator[Sequence[Decision]]:
    """Cut decisions so that each part fits a batch."""
    part: list[Decision] = []
    size = ROW_BYTES
    for decision in decisions:
        payload = len(decision.payload)
        own = ROW_BYTES + len(decision.pipeline) + (payload if payload <= INLINE_BYTES_MAX else 0)
        if part and size + own > BATCH_BYTES_MAX:
            yield part
            part, size = [], ROW_BYTES
        part.append(decision)
        size += own
    yield part


def row_of(shard: ShardId, writing: Writing) -> Values:
    """Return the values of the statement that writes a register."""
    decision = writing.decision
    run, number = decision.stamp.run, decision.stamp.number
    inline = decision.payload if writing.value is None else None
    mark = mark_of(run, number, decision.payload)
    return (shard, decision.pipeline, run, number, mark, inline, writing.value)


def mark_of(run: int, number: int, payload: bytes) -> int:
    """Return what tells that a register is whole."""
    return crc32(payload, crc32(f"{run}\0{number}".encode()))


def digest_of(rows: Sequence[Values]) -> str:
    """Return what tells one batch from another."""
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:16]


def owner_of(shard: ShardId, pipeline: PipelineId, run: int, number: int) -> str:
    """Return whose a large value is."""
    return f"the register of {pipeline} in shard {shard} at {run}/{number}"
