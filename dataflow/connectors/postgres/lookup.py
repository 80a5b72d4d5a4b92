"""A table as a lookup: one statement for many keys, which finds them by the table's own index."""

from __future__ import annotations

from collections.abc import Sequence

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from dataflow.connect import Answer, Context, Lookup, Rejected, Unavailable, Wanted
from dataflow.connectors.postgres.lookup_spec import PostgresLookupOptions
from dataflow.connectors.postgres.session import CONNECT_S, resolved, server_of
from dataflow.connectors.postgres.sink_spec import table_name

_TYPES = """
SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped"""

_FIND = sql.SQL("""
SELECT asked.number - 1, {columns} FROM unnest({arrays})
WITH ORDINALITY AS asked({names}, number) JOIN {table} AS held ON {equal}""")

_LOST = (psycopg.OperationalError, psycopg.InterfaceError)


def open_lookup(options: PostgresLookupOptions, wanted: Wanted, context: Context) -> PostgresLookup:
    """Return the lookup; the first question connects."""
    return PostgresLookup(options, wanted, context)


class PostgresLookup(Lookup):
    """Asks in a session of its own, which is made anew where it has broken."""

    def __init__(self, options: PostgresLookupOptions, wanted: Wanted, context: Context) -> None:
        self._options = options
        self.keys_max = options.batch_size
        self._keys = options.keys or tuple(wanted.keys)
        self._columns = tuple(wanted.columns)
        self._url = resolved(options.connection_string, context.secret)
        self._name = f"dataflow {context.pipeline} {context.step}"
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self._statement: sql.Composed | None = None

    def find(self, keys: pa.RecordBatch) -> Answer:
        """Return the rows of the table with these keys, as texts."""
        texts = [_texts(column) for column in keys.columns]
        try:
            found = self._asked(texts)
        except _LOST as error:
            self.close()
            raise self._unavailable(error) from error
        except psycopg.Error as error:
            self.close()
            raise Rejected(self._said(error), field="options.lookup") from error
        columns = [*zip(*found, strict=True)] or [()] * (1 + len(self._columns))
        arrays = [pa.array(column, pa.string()) for column in columns[1:]]
        rows = pa.RecordBatch.from_arrays(arrays, names=list(self._columns))
        return Answer(rows, pa.array(columns[0], pa.int64()))

    def close(self) -> None:
        """End the session."""
        connection, self._connection, self._statement = self._connection, None, None
        if connection is not None:
            connection.close()

    def _asked(self, texts: Sequence[Sequence[str | None]]) -> Sequence[tuple[object, ...]]:
        if self._connection is None:
            self._connection = self._connected()
        if self._statement is None:
            self._statement = self._find(self._connection)
        return self._connection.execute(self._statement, texts).fetchall()

    def _connected(self) -> psycopg.Connection[tuple[object, ...]]:
        timeout_ms = int(self._options.timeout.total_seconds() * 1000)
        connection = psycopg.connect(
            self._url,
            autocommit=True,
            application_name=self._name,
            client_encoding="UTF8",
            connect_timeout=int(CONNECT_S),
            options=f"-c TimeZone=UTC -c DateStyle=ISO -c statement_timeout={timeout_ms}",
        )
        connection.read_only = True
        return connection

    def _find(self, connection: psycopg.Connection[tuple[object, ...]]) -> sql.Composed:
        """Return the statement: keys are compared in the types of the table's columns."""
        name = table_name(self._options.table)
        table = sql.Identifier(*(part for part in (name.schema, name.name) if part))
        told = connection.execute(_TYPES, [table.as_string(connection)]).fetchall()
        types = {str(column): str(of) for column, of in told}
        lacking = [name for name in (*self._keys, *self._columns) if name not in types]
        if lacking:
            listed = ", ".join(types)
            message = f"{self._options.table} has no column {lacking[0]!r}; there are {listed}"
            raise Rejected(message, field="options.lookup.table")
        asked = [sql.Identifier(f"k{at}") for at in range(len(self._keys))]
        equal = [
            sql.SQL("held.{} = asked.{}::{}").format(sql.Identifier(key), name, sql.SQL(types[key]))
            for key, name in zip(self._keys, asked, strict=True)
        ]
        columns = [sql.SQL("held.{}::text").format(sql.Identifier(c)) for c in self._columns]
        return _FIND.format(
            columns=sql.SQL(", ").join(columns),
            arrays=sql.SQL(", ").join([sql.SQL("%s::text[]")] * len(asked)),
            names=sql.SQL(", ").join(asked),
            table=table,
            equal=sql.SQL(" AND ").join(equal),
        )

    def _unavailable(self, error: psycopg.Error) -> Unavailable:
        return Unavailable(self._said(error))

    def _said(self, error: psycopg.Error) -> str:
        told = str(error).partition("\n")[0] or type(error).__name__
        return f"{server_of(self._url)}: {told}"


def _texts(column: pa.Array[pa.Scalar[pa.DataType]]) -> list[str | None]:
    return pc.cast(column, pa.string()).to_pylist()
