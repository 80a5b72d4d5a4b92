"""Reading the logs: a bucket's header alone at SERIAL, then its rows, checked as a chain."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from dataflow.core.errors import Corrupted
from dataflow.core.ids import Offset, ShardId
from dataflow.journal.cassandra.buckets import Buckets, Header
from dataflow.journal.cassandra.encoding import decode
from dataflow.journal.cassandra.log import owner
from dataflow.journal.cassandra.session import Session
from dataflow.journal.cassandra.values import LargeValues
from dataflow.journal.contract import GENESIS, Hash, Record, check_chain

PAGE_ROWS = 64
"""Appends of mostly some KiB, and of 40 KiB at most: 2.5 MiB, and more only of large values."""

PAGE_RECORDS = 500
"""Of one append with many more."""


class Reader:
    """Reads what ``Log`` has written."""

    def __init__(self, session: Session, buckets: Buckets, values: LargeValues) -> None:
        self._session = session
        self._buckets = buckets
        self._values = values

    async def pages(
        self, shard: ShardId, after: Offset
    ) -> AsyncIterator[tuple[Offset, Sequence[Record]]]:
        """Yield the records behind ``after``, each page with the bucket it is from."""
        bucket = self._buckets.before(shard, Offset(after + 1))
        while (header := await self._buckets.header(shard, bucket)) is not None:
            if after < header.end.offset:
                async for page in self._rows(shard, header, after):
                    yield bucket, page
                after = header.end.offset
            if not header.sealed:
                return
            bucket = header.end.offset

    async def _rows(
        self, shard: ShardId, header: Header, after: Offset
    ) -> AsyncIterator[Sequence[Record]]:
        """Yield a bucket's records behind ``after``, up to where its header says that it ends."""
        head, offset = header.base, header.bucket
        if after > header.bucket:
            # The row that holds the record before comes along: the chain is checked from its hash.
            offset = Offset(after - 1)
        while offset < header.end.offset:
            rows = await self._session.run("rows", shard, header.bucket, offset, PAGE_ROWS)
            page: list[Record] = []
            for row in rows:
                records = await self._records(shard, *row)
                if offset < after:
                    head, offset, records = self._from(shard, after, records)
                page += records
            if not page:
                raise Corrupted(f"{self._session}, shard {shard}: record {offset + 1} is missing")
            if problem := check_chain(head, offset, page):
                raise Corrupted(f"{self._session}, shard {shard}: {problem}")
            head, offset = page[-1].hash, page[-1].offset
            for start in range(0, len(page), PAGE_RECORDS):
                yield page[start : start + PAGE_RECORDS]

    def _from(
        self, shard: ShardId, after: Offset, records: Sequence[Record]
    ) -> tuple[Hash, Offset, Sequence[Record]]:
        """Return the hash of the record at ``after``, its offset, and what follows it."""
        for index, record in enumerate(records):
            if record.offset == after:
                return record.hash, after, records[index + 1 :]
        raise Corrupted(f"{self._session}, shard {shard}: record {after} is missing")

    async def _records(
        self, shard: ShardId, seq: int, inline: bytes | None, value: bytes | None
    ) -> Sequence[Record]:
        last = Offset(seq)
        content = inline or b""
        if value is not None:
            content = await self._values.get(owner(shard, last), value)
        where = f"{self._session}, shard {shard}: the append that ends with record {last}"
        return decode(content, where)

    async def record(self, shard: ShardId, bucket: Offset, offset: Offset) -> Record | None:
        """Return one record, from the bucket that it is in or one before."""
        while (header := await self._buckets.header(shard, bucket)) is not None:
            if offset <= header.end.offset:
                rows = await self._session.run("rows", shard, bucket, offset - 1, 1)
                for seq, inline, value in rows:
                    records = await self._records(shard, seq, inline, value)
                    return next((r for r in records if r.offset == offset), None)
                return None
            if not header.sealed:
                return None
            bucket = header.end.offset
        return None

    async def hash_at(self, shard: ShardId, offset: Offset) -> Hash | None:
        """Return the hash of a record; None of one that is not there."""
        if offset == 0:
            return GENESIS
        record = await self.record(shard, self._buckets.before(shard, offset), offset)
        return record.hash if record else None
