"""Where a shard's log is: buckets, one behind the other, each with a header of its own.

    bucket 0, sealed        bucket 10000, sealed     bucket 19998
    0 < seq <= 10000        10000 < seq <= 19998     19998 < seq
    last_seq = 10000  --->  last_seq = 19998  --->   fence, holder, head: the end of the log

A bucket is named by the offset behind which it begins, so that the one before says where it is.
Headers are never deleted, and a sealed one never changes.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from dataflow.core.errors import Corrupted
from dataflow.core.ids import Offset, ShardId
from dataflow.journal import rules
from dataflow.journal.cassandra.session import Session
from dataflow.journal.contract import AppendId, Fence, Hash, Nonce


@dataclass(frozen=True, slots=True)
class Header:
    """What stands at the head of a bucket."""

    bucket: Offset
    end: rules.End
    """Of the log, as of this bucket."""
    base: Hash
    """The hash of the record behind which the bucket begins."""
    sealed: bool


class Buckets:
    """Reads headers, and remembers what buckets there are."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[ShardId, list[Offset]] = defaultdict(lambda: [Offset(0)])

    def know(self, shard: ShardId, buckets: Iterable[Offset]) -> None:
        """Take note of buckets that are there: a walk begins at the nearest."""
        known = self._known[shard]
        for bucket in buckets:
            if bucket not in known[bisect_left(known, bucket) :][:1]:
                insort(known, bucket)

    def newest(self, shard: ShardId) -> Offset:
        """Return the last bucket known."""
        return self._known[shard][-1]

    def before(self, shard: ShardId, offset: Offset) -> Offset:
        """Return the last known bucket that begins before an offset."""
        known = self._known[shard]
        return known[max(bisect_left(known, offset) - 1, 0)]

    async def header(self, shard: ShardId, bucket: Offset) -> Header | None:
        """Return a bucket's header at SERIAL; None of one that is not there."""
        rows = await self._session.run("header", shard, bucket)
        if not rows:
            return None
        _, _, fence, holder, last_seq, head, append_id, base, sealed = rows[0]
        self.know(shard, [bucket])
        end = rules.End(
            fence=Fence(fence),
            nonce=Nonce(holder),
            offset=Offset(last_seq),
            head=Hash(head),
            append_id=AppendId(append_id),
        )
        return Header(bucket, end, Hash(base), sealed)

    async def last(self, shard: ShardId) -> Header | None:
        """Walk to the last header there is; None of a shard that nobody has acquired yet.

        It is sealed if whoever sealed it has not opened the next one.

        Raises:
            Corrupted: a bucket is gone that was there.
        """
        bucket = self.newest(shard)
        header = await self.header(shard, bucket)
        if header is None and bucket:
            raise Corrupted(
                f"{self._session}, shard {shard}: bucket {bucket} of its log is missing"
            )
        while header is not None and header.sealed:
            following = await self.header(shard, header.end.offset)
            if following is None:
                break
            header = following
        return header
