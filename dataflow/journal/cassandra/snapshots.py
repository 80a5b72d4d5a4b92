"""Snapshots: their bytes first, as a large value, then the row that makes them count."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from dataflow.core.errors import Corrupted
from dataflow.core.ids import Offset, ShardId
from dataflow.journal import rules
from dataflow.journal.cassandra.buckets import Buckets
from dataflow.journal.cassandra.reading import Reader
from dataflow.journal.cassandra.session import Session, Values
from dataflow.journal.cassandra.values import LargeValues
from dataflow.journal.contract import Hash, Held, Snapshot

log = structlog.get_logger()

SNAPSHOTS_KEPT = 2
"""The newest, and the one before in case the newest turns out to be damaged."""


class Snapshots:
    """Keeps the newest snapshots of every shard.

    They need no fence of their own: whoever could write the log up to there knows the same state.
    A row is named by offset and content, so two that are written at once leave each other whole.
    """

    def __init__(
        self, session: Session, buckets: Buckets, reader: Reader, values: LargeValues
    ) -> None:
        self._session = session
        self._buckets = buckets
        self._reader = reader
        self._values = values

    async def save(self, held: Held, snapshot: Snapshot) -> None:
        """See ``Journal.save_snapshot``."""
        header = await self._buckets.last(held.shard)
        rules.check_fence(held, header.end if header else rules.UNTOUCHED)
        bucket = self._buckets.before(held.shard, snapshot.offset)
        before = await self.kept(held.shard)
        value = await self._values.put(_owner(held.shard, snapshot.offset), snapshot.payload)
        # AFTER its value is durable, and BEFORE any other is dropped.
        await self._session.run(
            "save_snapshot", held.shard, snapshot.offset, value, bucket, snapshot.hash
        )
        others = [row for row in before if row[0] != snapshot.offset]
        newest = sorted([snapshot.offset, *(row[0] for row in others)])[-SNAPSHOTS_KEPT:]
        for seq, old, _, _ in before:
            if old != value and (seq == snapshot.offset or seq not in newest):
                await self._session.run("drop_snapshot", held.shard, seq, old)
                await self._values.drop(old)

    async def load(self, shard: ShardId) -> Snapshot | None:
        """See ``Journal.load_snapshot``."""
        for seq, value, _, head in await self.kept(shard):
            offset = Offset(seq)
            if head != await self._reader.hash_at(shard, offset):
                log.warning("snapshot of another log", shard=shard, offset=offset)
                continue
            try:
                payload = await self._values.get(_owner(shard, offset), value)
            except Corrupted as error:
                log.warning("damaged snapshot", shard=shard, offset=offset, why=str(error))
                continue
            return Snapshot(offset, Hash(head), payload)
        return None

    async def kept(self, shard: ShardId) -> Sequence[Values]:
        """Return offset, value, bucket and hash of each snapshot there is, the newest first."""
        rows = await self._session.run("snapshots", shard)
        self._buckets.know(shard, [Offset(bucket) for _, _, bucket, _ in rows])
        return rows


def _owner(shard: ShardId, offset: Offset) -> str:
    return f"the snapshot of shard {shard} at record {offset}"
