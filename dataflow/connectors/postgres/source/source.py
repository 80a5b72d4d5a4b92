"""The ``postgres`` source: a table as it is, and its changes from the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

import psycopg
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
from dataflow.connectors.postgres.source.catalog import (
    SQL,
    SourceTable,
    bounds,
    described,
    require_identity,
    require_keys,
)
from dataflow.connectors.postgres.source.changed import Changed
from dataflow.connectors.postgres.source.changes import Changes
from dataflow.connectors.postgres.source.incremental import Incremental, cursor_keys
from dataflow.connectors.postgres.source.ranges import Ranges
from dataflow.connectors.postgres.source.refusals import translated
from dataflow.connectors.postgres.source.slots import Slot, slot_of
from dataflow.connectors.postgres.source.snapshot import Snapshots
from dataflow.connectors.postgres.source.spec import (
    PostgresPinned,
    PostgresPosition,
    PostgresSourceOptions,
    Seen,
)
from dataflow.connectors.postgres.source.stream import Block, Following, Stream
from dataflow.connectors.postgres.source.visible import Shown

CHANGES, ROWS = Split(SplitId("changes")), Split(SplitId("rows"))

ROWS_MAX = 10_000
"""Of a batch, unless ``batchSize`` says otherwise."""

MOVE_EVERY_S = 10.0
"""How often a table at rest has its position moved on, which is a checkpoint: the log of all others
is held until then. A server at rest itself has nothing to move on to."""

LAG_EVERY_S = 1.0
"""How often the server is asked for the end of its log."""

NAME_MAX = 63


def open_source(
    step: SourceStep, options: PostgresSourceOptions, context: Context
) -> PostgresSource:
    """Return the source of one step."""
    return PostgresSource(step, options, context)


class PostgresSource(Source[PostgresPosition, PostgresPinned]):
    """Reads the key ranges of a table, and follows its log behind them."""

    fixed = True

    def __init__(self, step: SourceStep, options: PostgresSourceOptions, context: Context) -> None:
        self._follows = options.mode == "changes"
        by_cursor = options.mode == "incremental"
        self._begins_with_table = options.mode == "snapshot" or (self._follows and options.snapshot)
        self.bounded = options.stop_at_end or options.mode == "snapshot"
        self._url = resolved(step.connection_string, context.secret)
        self._where = server_of(self._url)
        self._options = options
        self._rows_max = step.batch_size or ROWS_MAX
        self._clock = context.clock
        self._previews = context.previews
        self._slot = slot_of(options, context, self._url)
        self._publication = options.publication or self._slot
        self._session = f"dataflow source {context.pipeline}"[:NAME_MAX]
        self._table = table_name(options.table)
        self._opened: tuple[SourceTable, PostgresPinned] | None = None
        self._snapshots = Snapshots(self._url, self._session, self._where, primary=self._follows)
        self._ranges = Ranges(self._snapshots, self._rows_max)
        self._cursor = Incremental(step, options, context, self._url) if by_cursor else None
        self._end = 0
        """Where a run ends that ends."""
        self._stream: Stream | None = None
        self._passed = 0
        """What is before it is read, as far as there is anything of ours."""
        self._lag = -1
        self._lag_due_s = 0.0
        self._asking: Connection[Record] | None = None

    async def open(self, pinned: PostgresPinned | None) -> PostgresPinned:
        """See ``Source``: the columns, and a slot that holds the log from now on."""
        async with self._asked() as (connection, slot):
            table = await described(connection, self._table)
            self._table = table.name
            require_keys(table)
            keys = table.keys
            if self._cursor is not None:
                keys = cursor_keys(table, self._options.cursor_column)
                await self._cursor.require_values(connection, table)
            if self._follows:
                await slot.require_server()
                require_identity(table)
            is_new = pinned is None
            if pinned is None:
                ranges = self._options.snapshot_ranges if self._begins_with_table else 1
                pinned = PostgresPinned(
                    columns=tuple(table.columns),
                    keys=keys,
                    bounds=await bounds(connection, table, ranges),
                    resumes=self.resumes,
                )
            self._require_apart(pinned)
            if self._follows and not self._previews:
                # AFTER all that can be refused: a slot holds back the log of the whole server.
                begins = await self._claim(slot, table, is_new=is_new)
                if is_new:
                    pinned = pinned.model_copy(update={"begins": begins})
                self._end = await connection.fetchval(SQL["now"])
        self._opened = table, pinned
        self._ranges.open(table, pinned, Changed(pinned, self._options))
        return pinned

    async def _claim(self, slot: Slot, table: SourceTable, *, is_new: bool) -> int:
        """Have the slot hold what is to be read; returns where it begins."""
        begins = is_new and not self.resumes
        if begins:
            await slot.publish(table)
        ignored = ["truncate"] if self._options.truncates == "skip" else []
        await slot.require_published(table, whole=self._begins_with_table, ignored=ignored)
        if begins and self._options.create_slot:
            await slot.renew()
        return await slot.require()

    async def splits(self) -> Sequence[Split]:
        """See ``Source``."""
        if self._cursor is not None:
            return (ROWS,)
        ranges = self._ranges.splits if self._begins_with_table else ()
        return (*ranges, CHANGES) if self._follows else ranges

    @property
    def _ready(self) -> tuple[SourceTable, PostgresPinned]:
        if self._opened is None:
            raise RuntimeError("open comes before anything else")
        return self._opened

    def read(
        self, split: Split, start: PostgresPosition | None
    ) -> AsyncGenerator[Chunk[PostgresPosition], None]:
        """See ``Source``: changes come AFTER the last row of every range."""
        if split == CHANGES:
            return self._changes(start)
        if self._cursor is not None:
            changed = Changed(self._ready[1], self._options)
            return self._cursor.read(self._ready, changed, start, self._rows_max)
        return self._ranges.read(split, start or PostgresPosition())

    # --- the log ---------------------------------------------------------------------------------

    async def _changes(
        self, start: PostgresPosition | None
    ) -> AsyncGenerator[Chunk[PostgresPosition], None]:
        table, pinned = self._ready
        seen: Sequence[Seen] = start.seen if start is not None else ()
        if start is None:
            seen = await self._ranges.all_seen() if self._begins_with_table else ()
        if self._previews:
            if not self.bounded:
                await asyncio.Event().wait()  # What would be read takes a slot.
            return
        position = start or PostgresPosition(lsn=pinned.begins)
        async with self._asked() as (_, slot):
            await slot.end_reader()
            await slot.require_from(position.lsn)
        shown = Shown(seen, pinned, table.types, self._url) if seen else None
        changes = Changes(self._table, pinned, self._options, start=position, shown=shown)
        self._passed = position.lsn
        stream = Stream(self._following(position.lsn), self._rows_max, self._clock.steady)
        self._stream = stream
        try:
            async with aclosing(self._chunks(changes, stream)) as chunks:
                async for chunk in chunks:
                    yield chunk
        finally:
            self._stream = None
            await stream.close()

    async def _chunks(
        self, changes: Changes, stream: Stream
    ) -> AsyncGenerator[Chunk[PostgresPosition], None]:
        """Yield what a stream tells, and now and then how far there is nothing of ours."""
        moved, due_s = changes.position.lsn, self._clock.steady() + MOVE_EVERY_S
        async with aclosing(stream.blocks()) as blocks:
            async for block in blocks:
                for chunk in await self._read(changes, block):
                    yield chunk
                    moved, due_s = chunk.resume_at.lsn, self._clock.steady() + MOVE_EVERY_S
                if changes.refused is not None:
                    raise changes.refused
                ends = self.bounded and not changes.pending and self._passed >= self._end
                if ends or self._clock.steady() >= due_s:
                    if (move := changes.moved(moved)) is not None:
                        yield move
                        moved = move.resume_at.lsn
                    due_s = self._clock.steady() + MOVE_EVERY_S
                if ends:
                    return

    async def _read(self, changes: Changes, block: Block) -> Sequence[Chunk[PostgresPosition]]:
        """Return the chunks of a block, and note how far they go."""
        if not block.messages:
            changes.passed(block.passed)
            chunks: Sequence[Chunk[PostgresPosition]] = ()
        else:
            try:
                chunks = await asyncio.to_thread(changes.chunks, block.messages)
            except psycopg.Error as error:
                raise translated(error, self._where, self._slot) from error
        self._passed = changes.position.lsn
        return chunks

    def _following(self, lsn: int) -> Following:
        return Following(self._url, self._session, self._where, self._slot, self._publication, lsn)

    # --- telling ---------------------------------------------------------------------------------

    async def latest(self, split: Split) -> PostgresPosition:
        """See ``Source``."""
        if self._cursor is not None:
            async with self._asked() as (connection, _):
                return await self._cursor.last(connection, self._ready[0], self._ready[1].keys)
        if split != CHANGES:
            return PostgresPosition(done=True)
        async with self._asked() as (connection, _):
            return PostgresPosition(lsn=await connection.fetchval(SQL["now"]))

    async def grown(self, split: Split, position: PostgresPosition | None) -> bool:
        """See ``Source``: the log may have grown since, or the table."""
        if split in {CHANGES, ROWS}:
            return True
        self._ranges.ended(split, position.seen if position is not None else ())
        return False

    async def acknowledge(self, split: Split, position: PostgresPosition) -> None:
        """See ``Source``: the server may forget what is decided, and never anything else."""
        if self._stream is not None and split == CHANGES:
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
        await self._snapshots.close()
        if self._asking is not None:
            await close(self._asking, is_sound=True)

    @asynccontextmanager
    async def _asked(self) -> AsyncIterator[tuple[Connection[Record], Slot]]:
        async with connected(self._url, self._session, writes=self._follows) as connection:
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
