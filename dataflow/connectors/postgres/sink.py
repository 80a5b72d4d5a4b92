"""The ``postgres`` sink: a ``TransactionalSink`` over one table and its row of decisions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pyarrow as pa
from asyncpg import Connection, Record

from dataflow.connect import (
    Checkpoint,
    Context,
    Fenced,
    Rejected,
    SinkStep,
    Task,
    TransactionalSink,
    Unavailable,
)
from dataflow.connect.batches import refusals
from dataflow.connectors.postgres.decisions import Decisions, session_name
from dataflow.connectors.postgres.errors import translating
from dataflow.connectors.postgres.keyed import keyed, truncating
from dataflow.connectors.postgres.loading import Loading, Refused
from dataflow.connectors.postgres.merging import Merge
from dataflow.connectors.postgres.session import close, connect, connected, resolved, server_of
from dataflow.connectors.postgres.sink_spec import PostgresSinkOptions, TableName, table_name
from dataflow.connectors.postgres.tables import find, fitted, missing

LOCK_WAIT = "SET LOCAL lock_timeout = '10s'"
"""Who holds the decision's row is committing, and that takes a moment, or has just been ended."""

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
"""Each statement sees what is committed: the compare-and-set waits for a rival, then compares."""


ASKING = "dataflow asking"
"""Is no name of a run, so nobody ends it as one."""


def open_sink(step: SinkStep, options: PostgresSinkOptions, context: Context) -> PostgresSink:
    """Return the sink of one step."""
    return PostgresSink(resolved(step.connection_string, context.secret), options, context)


class PostgresSink(TransactionalSink):
    """One session for a run; its transaction begins with a checkpoint's first rows.

    A run that was frozen while another began commits nothing: its session was ended, and if it
    could not be, its decision is no longer the one before.
    """

    def __init__(self, url: str, options: PostgresSinkOptions, context: Context) -> None:
        self._url = url
        self._where = server_of(url)
        self._options = options
        self._name = table_name(options.table)
        self._probe = context.probe
        self._connection: Connection[Record] | None = None
        self._decisions: Decisions | None = None
        self._last = Checkpoint().stamp
        self._is_open = False
        self._failure: BaseException | None = None
        self._loading: tuple[pa.Schema, Loading] | None = None

    async def recover(self, task: Task, seed: Checkpoint) -> Checkpoint:
        """End older sessions of the pipeline BEFORE waiting for what they may have locked.

        Raises:
            Fenced: a larger run has claimed the table.
            Rejected: the server refuses the user, or there is no such database or table.
            Unavailable: it cannot be reached, or is a replica at the moment.
        """
        async with self._effect():
            self._connection = connection = await connect(self._url, session_name(task))
            await self._resolve(connection)
            schema = self._options.decisions_schema or self._name.schema
            self._decisions = decisions = Decisions(connection, schema, task)
            await decisions.end_older()
            await connection.execute(f"{BEGIN}; {LOCK_WAIT}")
            await decisions.create()
            held = await decisions.claim(seed)
            self._probe("postgres.claimed")
            await connection.execute("COMMIT")
            self._probe("postgres.recovered")
        self._last = held.stamp
        return held

    async def _resolve(self, connection: Connection[Record]) -> None:
        """Find the table, or at least where it will be."""
        table = await find(connection, self._name)
        if table is not None:
            self._name = table.name
        elif not self._options.create:
            raise missing(self._name)
        elif not self._name.schema:
            schema = await connection.fetchval("SELECT current_schema()")
            self._name = TableName(schema or "public", self._name.name)

    async def write(self, batch: pa.RecordBatch) -> pa.RecordBatch | None:
        """Write rows inside the checkpoint's transaction; returns those the table cannot hold."""
        async with self._effect():
            connection, decisions = self._claimed()
            await self._begin(connection, decisions)
            refused = await self._put(connection, batch)
            self._probe("postgres.written")
        return refusals(refused) if refused else None

    async def commit(self, decision: Checkpoint) -> None:
        """Put the decision beside the rows BEFORE the transaction ends."""
        async with self._effect():
            connection, decisions = self._claimed()
            await self._begin(connection, decisions)
            await decisions.decide(self._last, decision)
            self._probe("postgres.decided")
        async with self._effect(is_commit=True):
            done = await connection.execute("COMMIT")
            if done != "COMMIT":  # what has failed before makes it a rollback, and no error
                raise Unavailable(f"{self._where}: the transaction was rolled back")
            self._is_open, self._last = False, decision.stamp
            self._probe("postgres.committed")

    async def close(self) -> None:
        """End the session; the server rolls back what is open."""
        if self._connection is not None:
            await close(self._connection, is_sound=self._failure is None)

    async def _begin(self, connection: Connection[Record], decisions: Decisions) -> None:
        if not self._is_open:
            await connection.execute(BEGIN)
            self._is_open = True
            await decisions.check()

    async def _put(self, connection: Connection[Record], batch: pa.RecordBatch) -> Refused:
        """Write rows, and empty the table between them where they say so."""
        options, refused, start = self._options, Refused(), 0
        applies = options.truncates == "apply"
        truncates = truncating(batch, options.delete_column) if applies else ()
        for at in (*truncates, batch.num_rows):
            found = await self._put_rows(connection, batch.slice(start, at - start))
            refused |= {start + row: why for row, why in found.items()}
            if at < batch.num_rows and self._loading is not None:
                await self._loading[1].empty(at, refused)
            start = at + 1
        return refused

    async def _put_rows(self, connection: Connection[Record], batch: pa.RecordBatch) -> Refused:
        options = self._options
        upserts = options.mode == "upsert"
        refused: Refused = {}
        index: Sequence[int] = range(batch.num_rows)
        names = [name for name in batch.schema.names if name != options.delete_column]
        columns = pa.schema([batch.schema.field(name) for name in names])
        if upserts:
            batch, index, refused = keyed(batch, options.keys, options.delete_column)
        if self._loading is None or not self._loading[0].equals(columns):
            table = await fitted(connection, options, self._name, columns)
            deletes = options.delete_column is not None
            merge = Merge(table, options.keys, names, deletes=deletes) if upserts else None
            self._loading = columns, Loading(connection, table, names, merge)
            await self._loading[1].prepare()
        await self._loading[1].put(batch, index, refused)
        return refused

    def _claimed(self) -> tuple[Connection[Record], Decisions]:
        if self._connection is None or self._decisions is None:
            raise Rejected("nothing is written before recover", code="INTERNAL")
        return self._connection, self._decisions

    @asynccontextmanager
    async def _effect(self, *, is_commit: bool = False) -> AsyncIterator[None]:
        """Translate errors; nothing follows one, for only a new session knows what holds."""
        if self._failure is not None:
            raise Unavailable(f"{self._where}: nothing can follow what failed before") from (
                self._failure
            )
        try:
            with translating(self._where, is_commit=is_commit):
                yield
        except BaseException as error:
            self._failure = error
            if isinstance(error, Unavailable):
                await self._fence(error)
            raise

    async def _fence(self, error: Unavailable) -> None:
        """Raise ``Fenced`` if it was the successor that ended the session."""
        session, decisions = self._connection, self._decisions
        if session is None or decisions is None or not session.is_closed():
            return
        try:
            async with connected(self._url, ASKING) as connection:
                await decisions.by(connection).check()
        except Fenced as fenced:
            raise fenced from error
        except (Unavailable, Rejected):
            return  # It cannot be asked now, and what was raised says why nothing was written.
