"""``Sqlite``: the writer, the readers and the folder they share."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from dataflow.core.errors import Corrupted, Unavailable
from dataflow.core.ids import Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.contract import (
    AppendId,
    Decided,
    Decision,
    Held,
    Nonce,
    Outcome,
    Record,
    Snapshot,
    check_chain,
)
from dataflow.journal.sqlite import file, reader
from dataflow.journal.sqlite.transaction import Acquire, Append, Decide, Index, SaveSnapshot
from dataflow.journal.sqlite.writer import Writer


class Sqlite:
    """A ``Journal`` in ``journal.db`` of one folder, which no other process may use meanwhile.

    A call that is cancelled may still take effect. At most one append a shard and what else the
    callers wait for is queued: they bound the writer's memory.
    """

    def __init__(self, opened: file.Opened) -> None:
        """Take over what ``file.open_journal`` returned; use ``Sqlite.open``."""
        self._opened = opened
        self._writer = Writer(opened.connection, opened.file)
        self._reader = reader.Reader(opened.file, file.connect_reading)
        self._closed = False

    @classmethod
    async def open(cls, folder: Path) -> Sqlite:
        """Open or create the journal in ``folder``, and check it.

        Raises:
            Unavailable: ``BUSY`` when another process uses the folder (it names it); ``STORAGE``
                when it cannot be written.
            Rejected: the file is not a journal, or one of a newer program.
            Corrupted: the file, or the end of a shard's log, is damaged; says where.
        """
        return cls(await asyncio.to_thread(file.open_journal, folder))

    def __str__(self) -> str:
        """See ``Journal.__str__``."""
        return str(self._opened.file)

    async def acquire(self, shard: ShardId, nonce: Nonce) -> Held:
        """See ``Journal.acquire``."""
        return await self._writer.ask(Acquire(shard, nonce))

    async def append(self, held: Held, records: Sequence[Record], append_id: AppendId) -> Held:
        """See ``Journal.append``."""
        return await self._writer.ask(Append(held, records, append_id))

    async def read(self, shard: ShardId, after: Offset) -> AsyncIterator[Sequence[Record]]:
        """See ``Journal.read``; it ends no earlier than where the log ended when asked."""
        end = await self._writer.ask(Index(shard))
        head, offset = await self._reader.run(reader.hash_at, shard, after), after
        while offset < end.offset:
            page = await self._reader.run(reader.page, shard, offset)
            problem = check_chain(head, offset, page) if page else f"record {offset + 1} is missing"
            if problem:
                raise Corrupted(f"{self._opened.file}, shard {shard}: {problem}")
            head, offset = page[-1].hash, page[-1].offset
            yield page

    async def history(
        self, pipeline: PipelineId, after: SequenceNumber, limit: int
    ) -> Sequence[Record]:
        """See ``Journal.history``."""
        await self._writer.ask(Index(None))
        return await self._reader.run(reader.history, pipeline, after, limit=limit)

    async def decide(self, held: Held, decisions: Sequence[Decision]) -> Sequence[Outcome]:
        """See ``Journal.decide``."""
        return await self._writer.ask(Decide(held, decisions))

    async def decision(self, shard: ShardId, pipeline: PipelineId) -> Decided | None:
        """See ``Journal.decision``; every register is in one place, whatever its shard."""
        del shard
        self._check_open()
        return await self._reader.run(reader.decision, pipeline)

    async def save_snapshot(self, held: Held, snapshot: Snapshot) -> None:
        """See ``Journal.save_snapshot``."""
        await self._writer.ask(SaveSnapshot(held, snapshot))

    async def load_snapshot(self, shard: ShardId) -> Snapshot | None:
        """See ``Journal.load_snapshot``."""
        await self._writer.ask(Index(shard))
        return await self._reader.run(reader.snapshot, shard)

    async def close(self) -> None:
        """See ``Journal.close``; the folder is free afterwards."""
        if self._closed:
            return
        self._closed = True
        await self._reader.close()
        await self._writer.close()
        self._opened.lock.release()

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the journal is closed")
