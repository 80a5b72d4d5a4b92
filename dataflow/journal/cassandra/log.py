"""Writing the logs: fences, appends and seals, each one conditional write on one bucket.

Whoever acquires a shard raises the fence in its last bucket; whoever seals that bucket can do so
under its own fence alone. So of two writers one is refused, whichever bucket each takes for the
last one.

Every error of a conditional write leaves its outcome unknown, and no read can settle that while
the old coordinator may still carry it out. An append is told apart by its ``append_id`` and is
repeated, identical, by its caller; an acquisition by its nonce, and is tried again here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from dataflow.core.errors import Code, Corrupted, Fenced, Unavailable
from dataflow.core.ids import Offset, ShardId
from dataflow.journal import rules
from dataflow.journal.cassandra.buckets import Buckets, Header
from dataflow.journal.cassandra.encoding import encode
from dataflow.journal.cassandra.session import Row, Session
from dataflow.journal.cassandra.values import LargeValues
from dataflow.journal.contract import AppendId, Fence, Held, Nonce, Record

BUCKET_EVENTS = 10_000
"""A partition of some 10 MB: far below what compaction and repair have trouble with."""

BATCH_BYTES_MAX = 40 << 10
"""Of one conditional batch: below the 50 KiB at which a server with its own defaults refuses."""

FIXED_BYTES = 512
"""Of a batch: everything whose length does not vary."""

ACQUIRE_ATTEMPTS = 32
"""Of ten that race for a shard each has lost nine times before; the rest is for time-outs."""

WAIT_S_FIRST, WAIT_S_MAX = 0.01, 1.0

MOVES_MAX = 3
"""Buckets that one append may find sealed by its own earlier attempts: one; the rest is caution."""


class Log:
    """Writes the logs of all shards."""

    def __init__(
        self, session: Session, buckets: Buckets, values: LargeValues, bucket_events: int
    ) -> None:
        self._session = session
        self._buckets = buckets
        self._values = values
        self._bucket_events = bucket_events
        self._holders: dict[ShardId, Nonce] = {}
        self._in_doubt: dict[ShardId, AppendId] = {}
        """Appends that may have been written already: until that is known, no error says no."""

    async def acquire(self, shard: ShardId, nonce: Nonce) -> Held:
        """Raise the shard's fence; success is to read one's own nonce back.

        Raises:
            Unavailable: the store cannot be reached, or others acquired the shard all the time.
        """
        claimed = Fence(0)
        wait_s = WAIT_S_FIRST
        for _ in range(ACQUIRE_ATTEMPTS):
            header = await self._buckets.last(shard)
            if header is not None:
                is_mine = header.end.nonce == nonce and not header.sealed
                if is_mine or claimed:
                    # Claimed and not mine: another one has raised it since, and will be obeyed.
                    self._holders[shard] = header.end.nonce
                    fence = header.end.fence if is_mine else claimed
                    return Held(shard, fence, header.end.offset, header.end.head)
            try:
                claimed = await self._raise(shard, header, nonce)
            except Unavailable as error:
                if error.code != Code.OUTCOME_UNKNOWN:
                    raise
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, WAIT_S_MAX)
        raise Unavailable(f"{self._session}: shard {shard} could not be acquired; try again")

    async def _raise(self, shard: ShardId, header: Header | None, nonce: Nonce) -> Fence:
        """Try to raise the fence, and return it; 0 if somebody else was quicker."""
        end = rules.acquired(header.end if header else rules.UNTOUCHED, nonce)
        if header is None or header.sealed:
            row = await self._open(shard, end)
        else:
            row = await self._session.conditionally(
                "fence", end.fence, nonce, shard, header.bucket, header.end.fence
            )
        return end.fence if row["[applied]"] else Fence(0)

    async def _open(self, shard: ShardId, end: rules.End) -> Row:
        """Create the header of the bucket that begins at the log's end, unless it is there."""
        row = await self._session.conditionally(
            "open_bucket",
            shard,
            end.offset,
            end.fence,
            end.nonce,
            end.offset,
            end.head,
            end.append_id,
            end.head,
        )
        self._buckets.know(shard, [end.offset])
        return row

    async def append(
        self, held: Held, records: Sequence[Record], append_id: AppendId
    ) -> tuple[Held, Offset]:
        """See ``Journal.append``; returns the bucket, too."""
        assumed = rules.End(held.fence, Nonce(""), held.offset, held.head, AppendId(""))
        after = rules.held(held.shard, rules.appended(held, assumed, records, append_id))
        try:
            bucket = await self._append(held, after, records, append_id)
        except Fenced:
            raise
        except Unavailable as error:
            if error.code is Code.OUTCOME_UNKNOWN:
                self._in_doubt[held.shard] = append_id
                raise
            if self._in_doubt.get(held.shard) != append_id:
                raise
            message = f"{error.message}; an earlier attempt may have been written, ask again"
            raise Unavailable(message, code=Code.OUTCOME_UNKNOWN) from error
        self._in_doubt.pop(held.shard, None)
        return after, bucket

    async def _append(
        self, held: Held, after: Held, records: Sequence[Record], append_id: AppendId
    ) -> Offset:
        """Write or find an append, and return its bucket."""
        if held.shard not in self._holders:
            header = await self._buckets.last(held.shard)
            self._holders[held.shard] = header.end.nonce if header else Nonce("")
        bucket = self._buckets.newest(held.shard)
        inline, value = await self._content(held.shard, after, records, append_id)
        if bucket < held.offset and after.offset - bucket > self._bucket_events:
            bucket = await self._seal(held, bucket)
        for _ in range(MOVES_MAX):
            row = await self._session.conditionally(
                "append",
                *(after.offset, after.head, append_id, held.shard, bucket),
                *(held.fence, held.offset, held.head),
                *(held.shard, bucket, after.offset),
                *(self._holders[held.shard], append_id, inline, value),
            )
            if row["[applied]"]:
                return bucket
            # It may be an earlier attempt, of whatever process, that stands in the way.
            self._in_doubt[held.shard] = append_id
            header = await self._buckets.last(held.shard)
            end = header.end if header else rules.UNTOUCHED
            if rules.appended(held, end, records, append_id) is end:
                return self._buckets.before(held.shard, after.offset)
            bucket = await self._writable(held, header)
        raise Corrupted(
            f"{self._session}, shard {held.shard}: refuses an append at offset {held.offset},"
            " which is where its log ends"
        )

    async def _seal(self, held: Held, bucket: Offset) -> Offset:
        """Seal a bucket and open the next one; what the store says to it shows at the append."""
        await self._session.conditionally(
            "seal", held.shard, bucket, held.fence, held.offset, held.head
        )
        return await self._writable(held, await self._buckets.last(held.shard))

    async def _writable(self, held: Held, header: Header | None) -> Offset:
        """Return the bucket to write to, and open it if its predecessor is sealed."""
        if header is None or not header.sealed:
            return header.bucket if header else Offset(0)
        rules.check_fence(held, header.end)
        await self._open(held.shard, header.end)
        return header.end.offset

    async def _content(
        self, shard: ShardId, after: Held, records: Sequence[Record], append_id: AppendId
    ) -> tuple[bytes | None, bytes | None]:
        """Return the records as a row holds them: themselves, or the name of a large value."""
        content = encode(records)
        names = 2 * (len(append_id.encode()) + len(self._holders[shard].encode()))
        if FIXED_BYTES + names + len(content) <= BATCH_BYTES_MAX:
            return content, None
        # BEFORE the append that names it.
        return None, await self._values.put(owner(shard, after.offset), content)


def owner(shard: ShardId, last: Offset) -> str:
    """Return whose value the records of an append are."""
    return f"shard {shard}, record {last}"
