"""The ``postgres`` source: changes of a table from its log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from urllib.parse import unquote, urlsplit

from asyncpg import Connection, Record

from dataflow.connect import (
    Chunk,
    Context,
    Rejected,
    Source,
    SourceStep,
    Split,
    SplitId,
)
from dataflow.connectors.postgres.session import close, connect, connected, resolved, server_of
from dataflow.connectors.postgres.sink_spec import table_name
from dataflow.connectors.postgres.source.catalog import SQL, described, require_identity
from dataflow.connectors.postgres.source.changes import Changes
from dataflow.connectors.postgres.source.slots import Slot, slot_name
from dataflow.connectors.postgres.source.spec import (
    PostgresPinned,
    PostgresPosition,
    PostgresSourceOptions,
)
from dataflow.connectors.postgres.source.stream import Block, Following, Stream

CHANGES = Split(SplitId("changes"))

ROWS_MAX = 10_000
"""Of a batch, unless ``batchSize`` says otherwise."""

LAG_EVERY_S = 1.0
"""How often the server is asked for the end of its log."""

NAME_MAX = 63


def open_source(
    step: SourceStep, options: PostgresSourceOptions, context: Context
) -> ChangesSource:
    """Return the source of one step."""
    return ChangesSource(step, options, context)


class ChangesSource(Source[PostgresPosition, PostgresPinned]):
    """Follows the log of one table."""

    fixed = True

    def __init__(self, step: SourceStep, options: PostgresSourceOptions, context: Context) -> None:
        self.bounded = options.stop_at_end
        self._url = resolved(step.connection_string, context.secret)
        self._where = server_of(self._url)
        self._options = options
        self._rows_max = step.batch_size or ROWS_MAX
        self._clock = context.clock
        database = unquote(urlsplit(self._url).path.lstrip("/"))
        self._slot = options.slot or slot_name(context.pipeline, context.step, database)
        self._publication = options.publication or self._slot
        self._session = f"dataflow source {context.pipeline}"[:NAME_MAX]
        self._table = table_name(options.table)
        self._pinned: PostgresPinned | None = None
        self._end = 0
        """Where a run ends that ends."""
        self._stream: Stream | None = None
        self._last: PostgresPosition | None = None
        """Of the last rows that were read."""
        self._passed = 0
        """Up to here there is nothing of ours behind them."""
        self._lag = -1
        self._lag_due_s = 0.0
        self._asking: Connection[Record] | None = None

    async def open(self, pinned: PostgresPinned | None) -> PostgresPinned:
        """See ``Source``: the columns, and a slot that holds the log from now on."""
        async with self._asked() as (connection, slot):
            await slot.require_server()
            table = await described(connection, self._table)
            self._table = table.name
            require_identity(table)
            is_new = pinned is None
            pinned = pinned or PostgresPinned(columns=tuple(table.columns), keys=table.identity)
            self._require_apart(pinned)
            if is_new:  # AFTER everything that can be refused: a slot holds the log of all.
                await slot.publish(table)
                if self._options.create_slot:
                    await slot.renew()
            await slot.require()
            self._end = await connection.fetchval(SQL["now"])
        self._pinned = pinned
        return pinned

    async def splits(self) -> Sequence[Split]:
        """See ``Source``."""
        return (CHANGES,)

    async def read(
        self,
        split: Split,  # noqa: ARG002 - there is but one
        start: PostgresPosition | None,
    ) -> AsyncGenerator[Chunk[PostgresPosition], None]:
        """See ``Source``."""
        if self._pinned is None:
            raise RuntimeError("open comes before anything else")
        async with self._asked() as (_, slot):
            await slot.end_reader()
            begin = await slot.require()
        position = start or PostgresPosition(lsn=begin)
        changes = Changes(self._table, self._pinned, self._options, position)
        self._last, self._passed = None, position.lsn
        stream = Stream(self._following(position.lsn), self._rows_max)
        self._stream = stream
        try:
            async with aclosing(stream.blocks()) as blocks:
                async for block in blocks:
                    for chunk in await self._read(changes, block):
                        yield chunk
                    if changes.refused is not None:
                        raise changes.refused
                    self._release(stream)
                    if self.bounded and not changes.pending and self._passed >= self._end:
                        return
        finally:
            self._stream = None
            await stream.close()

    async def _read(self, changes: Changes, block: Block) -> Sequence[Chunk[PostgresPosition]]:
        """Return the chunks of a block, and note how far they go."""
        if not block.messages:
            changes.passed(block.passed)
            chunks: Sequence[Chunk[PostgresPosition]] = ()
        else:
            chunks = await asyncio.to_thread(changes.chunks, block.messages)
        if chunks:
            self._last = chunks[-1].resume_at
        self._passed = changes.position.lsn
        return chunks

    def _release(self, stream: Stream) -> None:
        """Let the server forget what holds nothing of ours, once all of ours is decided."""
        if self._last is None:
            stream.decided(self._passed, at_once=False)

    def _following(self, lsn: int) -> Following:
        return Following(self._url, self._session, self._where, self._slot, self._publication, lsn)

    async def latest(self, split: Split) -> PostgresPosition:  # noqa: ARG002 - there is but one
        """See ``Source``."""
        async with self._asked() as (connection, _):
            return PostgresPosition(lsn=await connection.fetchval(SQL["now"]))

    async def grown(self, split: Split, position: PostgresPosition | None) -> bool:  # noqa: ARG002 - there is but one
        """See ``Source``: the log may have grown since."""
        return True

    async def acknowledge(self, split: Split, position: PostgresPosition) -> None:  # noqa: ARG002 - there is but one
        """See ``Source``: the server may forget what is decided, and never anything else."""
        if self._stream is None:
            return
        if position == self._last:
            self._last = None
            self._stream.decided(self._passed)
        else:
            self._stream.decided(position.lsn)

    async def lag(self) -> tuple[int, int]:
        """See ``Source``: bytes of the log that are not read yet, of all tables."""
        now_s = self._clock.steady()
        if self._stream is None or now_s < self._lag_due_s:
            return -1, self._lag
        self._lag_due_s = now_s + LAG_EVERY_S
        try:
            if self._asking is None or self._asking.is_closed():
                self._asking = await connect(self._url, self._session)
            end: int = await self._asking.fetchval(SQL["now"], timeout=LAG_EVERY_S)
            self._lag = max(0, end - self._passed)
        except Exception:  # noqa: BLE001 - a figure is not worth a run
            self._lag = -1
        return -1, self._lag

    async def close(self) -> None:
        """See ``Source``."""
        if self._asking is not None:
            await close(self._asking, is_sound=True)

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[tuple[Connection[Record], Slot]]:
        async with connected(self._url, self._session) as connection:
            yield connection, Slot(connection, self._where, self._slot, self._publication)

    def _require_apart(self, pinned: PostgresPinned) -> None:
        beside = self._options.metadata
        for column in pinned.columns:
            if column.name in beside:
                raise Rejected(
                    f"table {str(self._table)!r} has a column {column.name!r}, too; give the one"
                    " beside it another name, or none",
                    field="options",
                )
