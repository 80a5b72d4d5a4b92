"""The table that rows go to: what it has, what it lacks, and how it is made or changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
from asyncpg import Connection, Record

from dataflow.connect import Rejected
from dataflow.connectors.postgres.names import listed, quoted
from dataflow.connectors.postgres.sink_spec import PostgresSinkOptions, TableName
from dataflow.connectors.postgres.statements import load
from dataflow.connectors.postgres.types import column_type, widened

SQL = load("tables.sql")


@dataclass(frozen=True, slots=True)
class Table:
    """A table and the types of its columns.

    Attributes:
        bases: the types without lengths: a cast to one with its length cuts what is too long.
    """

    name: TableName
    columns: Mapping[str, str]
    bases: Mapping[str, str]

    def targets(self, names: Sequence[str]) -> Mapping[str, str]:
        """Return the types of some columns."""
        return {name: self.columns[name] for name in names}


async def find(connection: Connection[Record], name: TableName) -> Table | None:
    """Return a table as it is; None if it is not there."""
    found = await connection.fetchrow(SQL["find"], quoted(name))
    if found is None:
        return None
    rows = await connection.fetch(SQL["columns"], quoted(name))
    types = {name: kind for name, kind, _ in rows}
    return Table(TableName(*found), types, {name: base for name, _, base in rows})


async def one_at_a_time(connection: Connection[Record], table: str) -> None:
    """Return when nobody else creates a table any more, until the transaction ends."""
    await connection.execute(SQL["one_at_a_time"], table)


async def fitted(
    connection: Connection[Record], options: PostgresSinkOptions, name: TableName, rows: pa.Schema
) -> Table:
    """Return the table after whatever options allow to do so that rows of these columns fit.

    Raises:
        Rejected: they do not fit, or the table is not there.
    """
    table = await find(connection, name)
    if table is None and options.create:
        await one_at_a_time(connection, quoted(name))
        table = await find(connection, name)
    if table is None and options.create:
        await connection.execute(_created(name, rows, options.keys))
        table = await find(connection, name)
    if table is None:
        raise missing(name)
    changes = _changes(table, rows, options)
    if not changes:
        return table
    await connection.execute(f"ALTER TABLE {quoted(table.name)} {', '.join(changes)}")
    return await find(connection, name) or table


def missing(name: TableName) -> Rejected:
    """Return the error of a table that is not there."""
    return Rejected(
        f"there is no table {str(name)!r}; create it, or set create", field="options.table"
    )


def _created(name: TableName, rows: pa.Schema, keys: Sequence[str]) -> str:
    columns = [f"{quoted(field.name)} {column_type(field)}" for field in rows]
    primary = [f"PRIMARY KEY ({listed(keys)})"] if keys else []
    return f"CREATE TABLE {quoted(name)} ({', '.join([*columns, *primary])})"


def _changes(table: Table, rows: pa.Schema, options: PostgresSinkOptions) -> list[str]:
    changes = []
    for field in rows:
        existing = table.columns.get(field.name)
        if existing is None and not options.evolve:
            raise Rejected(
                f"table {str(table.name)!r} has no column {field.name!r}, only"
                f" {', '.join(table.columns)}; add it, set evolve, or drop it in a map transform",
                field="options.table",
            )
        if existing is None:
            changes.append(f"ADD COLUMN {quoted(field.name)} {column_type(field)}")
        elif options.evolve and (wide := widened(existing, column_type(field))):
            changes.append(f"ALTER COLUMN {quoted(field.name)} TYPE {wide}")
    return changes
