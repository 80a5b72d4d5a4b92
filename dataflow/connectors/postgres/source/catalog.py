"""A table as the database describes it: columns, keys, and what its log tells of old rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asyncpg import Connection, Record

from dataflow.connect import Rejected
from dataflow.connect.columns import PinnedColumn
from dataflow.connectors.postgres.names import quoted
from dataflow.connectors.postgres.sink_spec import TableName
from dataflow.connectors.postgres.source.columns import type_of
from dataflow.connectors.postgres.statements import load

SQL = load("source/catalog.sql")


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table to read.

    Attributes:
        columns: those that it stores, with their types here; generated ones are not logged.
        primary: its primary key.
        identity: the columns by which the log tells which row was changed; empty for none.
        is_full: the log holds old rows as they were.
    """

    name: TableName
    columns: Sequence[PinnedColumn]
    primary: tuple[str, ...]
    identity: tuple[str, ...]
    is_full: bool


async def described(connection: Connection[Record], name: TableName) -> SourceTable:
    """Return a table.

    Raises:
        Rejected: it is not there, or is none.
    """
    found = await connection.fetchrow(SQL["table"], quoted(name))
    if found is None:
        message = f"there is no table {str(name)!r}; create it, or name another"
        raise Rejected(message, field="options.table")
    if not found["plain"]:
        raise Rejected(f"{str(name)!r} is no table; name one", field="options.table")
    columns = await connection.fetch(SQL["columns"], found["oid"])
    keys = await connection.fetch(SQL["keys"], found["oid"])
    primary = tuple(row["attname"] for row in keys if row["primary"])
    index = tuple(row["attname"] for row in keys if row["identity"])
    kind = bytes(found["identity"]).decode()
    return SourceTable(
        TableName(found["schema"], found["name"]),
        [PinnedColumn(name=c, type=type_of(of)) for c, of, generated in columns if not generated],
        primary,
        {"d": primary, "i": index, "f": primary}.get(kind, ()),
        kind == "f",
    )


def require_identity(table: SourceTable) -> None:
    """Refuse a table of whose rows the log would not tell which was changed.

    Raises:
        Rejected: it has none; published, it would refuse updates and deletions.
    """
    if table.identity:
        return
    where = quoted(table.name)
    raise Rejected(
        f"table {str(table.name)!r} has no primary key that tells its rows apart in the log; give"
        f" it one, or ALTER TABLE {where} REPLICA IDENTITY USING INDEX a unique one",
        field="options.table",
    )
