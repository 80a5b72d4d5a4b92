"""What a journal promises.

One log a shard, gap-free from offset 1. Whoever acquires a shard raises its fence; a writer with a
smaller fence is refused from then on, whatever it believes. Every record holds a hash over itself
and the one before it, so that a changed, missing or reordered record shows.

Beside the log stand the decision registers, one a pipeline: the latest checkpoint that was
decided, overwritten by compare-and-set. An idle pipeline costs nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NewType, Protocol

from dataflow.core.checkpoint import Stamp
from dataflow.core.ids import CommandId, Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.light import light

Fence = NewType("Fence", int)
Nonce = NewType("Nonce", str)
AppendId = NewType("AppendId", str)
Hash = NewType("Hash", bytes)

GENESIS = Hash(bytes(32))
"""What stands for the hash of the record before the first."""

APPEND_BYTES = 1 << 20
"""Of one append's payloads, about: more gains nothing (measured: flat from 64 KiB on) and holds
up the shard."""

APPEND_BYTES_MAX = 16 << 20
"""What one append may hold: the audit of a source of 10,000 files is some 3 MiB in one event. A
store with a smaller limit splits values off itself."""


@light
@dataclass(frozen=True, slots=True)
class Record:
    """One event as the journal keeps it: its payload is opaque, the rest is for finding it."""

    offset: Offset
    pipeline: PipelineId
    sequence: SequenceNumber
    type: str
    time: datetime
    actor: str
    command_id: CommandId
    payload: bytes
    hash: Hash


@light
@dataclass(frozen=True, slots=True)
class Held:
    """The right to write a shard, as of one point of its log."""

    shard: ShardId
    fence: Fence
    offset: Offset
    """Of the log's last record; 0 of an empty log."""
    head: Hash
    """Of the log's last record."""


@dataclass(frozen=True, slots=True)
class Decision:
    """A write to a pipeline's register: from exactly ``expected`` to ``stamp``."""

    pipeline: PipelineId
    expected: Stamp
    """What the register holds now; ``Stamp()`` of one never written."""
    stamp: Stamp
    """Greater than ``expected``."""
    payload: bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a decision."""

    accepted: bool
    stored: Stamp
    """What the register holds after it."""


@dataclass(frozen=True, slots=True)
class Decided:
    """What a register holds."""

    stamp: Stamp
    payload: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A shard's state after the record at ``offset``; ``hash`` is that record's."""

    offset: Offset
    hash: Hash
    payload: bytes


class Journal(Protocol):
    """A store of logs, snapshots and registers, shared by every node that may own a shard.

    All methods raise ``Unavailable`` when the store cannot be reached or is full, and
    ``Corrupted`` when what it holds contradicts itself. Calls for different shards may overlap;
    the caller overlaps no two appends of one shard.
    """

    def __str__(self) -> str:
        """Return where it is, for an error's reader."""
        ...

    async def acquire(self, shard: ShardId, nonce: Nonce) -> Held:
        """Raise the shard's fence and return the right to write.

        ``nonce`` is fresh for every call; it tells an unknown outcome apart.
        """
        ...

    async def append(self, held: Held, records: Sequence[Record], append_id: AppendId) -> Held:
        """Write records, all or none, directly behind ``held.offset``; durable on return.

        Offsets, hashes and order are the caller's (see ``link``) and are checked. Repeating
        an append with the same ``append_id`` after an unknown outcome is safe: it is found.

        Raises:
            Fenced: the shard has a larger fence.
            Unavailable: with code ``OUTCOME_UNKNOWN`` when it may have been written: repeat it,
                identical, before anything else.
            Corrupted: the log's end is not ``held.offset``.
        """
        ...

    def read(self, shard: ShardId, after: Offset) -> AsyncIterator[Sequence[Record]]:
        """Yield the records behind ``after`` in order, in bounded pages; the chain is checked.

        Raises:
            Corrupted: a record is missing, changed or out of order; says shard and offset.
        """
        ...

    async def history(
        self, pipeline: PipelineId, after: SequenceNumber, limit: int
    ) -> Sequence[Record]:
        """Return a pipeline's records behind a sequence number, in order, at most ``limit``."""
        ...

    async def decide(self, held: Held, decisions: Sequence[Decision]) -> Sequence[Outcome]:
        """Write registers, each by itself: a refused one never fails its neighbours.

        Durable on return, in one write. At most one decision a pipeline and call.

        Raises:
            Fenced: the shard has a larger fence; nothing was written.
            Unavailable: with code ``OUTCOME_UNKNOWN`` when some may have been written: read.
        """
        ...

    async def decision(self, shard: ShardId, pipeline: PipelineId) -> Decided | None:
        """Return what a pipeline's register holds."""
        ...

    async def save_snapshot(self, held: Held, snapshot: Snapshot) -> None:
        """Keep a snapshot of a shard; the one before is kept too until this one is durable.

        Raises:
            Fenced: the shard has a larger fence.
        """
        ...

    async def load_snapshot(self, shard: ShardId) -> Snapshot | None:
        """Return the newest snapshot whose hash is that of the log's record; None without one."""
        ...

    async def close(self) -> None:
        """Finish what was asked for, then release everything."""
        ...


def link(head: Hash, offset: Offset, payload: bytes) -> Hash:
    """Return the hash of a record: SHA-256 over the one before, its offset and its payload."""
    return Hash(hashlib.sha256(head + offset.to_bytes(8, "big") + payload).digest())


def check_chain(head: Hash, offset: Offset, records: Sequence[Record]) -> str:
    """Return what is wrong with records that should follow ``offset``; nothing if all is right."""
    for record in records:
        if record.offset != offset + 1:
            return f"record {offset + 1} is missing; {record.offset} follows {offset}"
        if record.hash != link(head, record.offset, record.payload):
            return f"record {record.offset} is not what was written: its hash differs"
        head, offset = record.hash, record.offset
    return ""
