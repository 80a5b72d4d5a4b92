"""A table as the database describes it: columns, keys, and what its log tells of old rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from asyncpg import Connection, Record

from dataflow.connect import Rejected
from dataflow.connect.columns import PinnedColumn
from dataflow.connectors.postgres.names import literal, quoted
from dataflow.connectors.postgres.sink_spec import TableName
from dataflow.connectors.postgres.source.columns import type_of
from dataflow.connectors.postgres.statements import load

SQL = load("source/catalog.sql")

SAMPLED_ROWS = 200_000
"""From which ranges of about equal size are made; a scan of them takes some 50 ms."""


@dataclass(frozen=True, slots=True)
class SourceTable:
    """A table to read.

    Attributes:
        columns: those that it stores, with their types here; generated ones are not logged.
        primary: its primary key.
        identity: the columns by which the log tells which row was changed; empty for none.
        types: of the columns, as SQL, with their collations.
        inherited: other tables hold rows of it, and the log tells those by their names.
    """

    name: TableName
    columns: Sequence[PinnedColumn]
    primary: tuple[str, ...]
    identity: tuple[str, ...]
    types: Mapping[str, str]
    inherited: bool

    @property
    def keys(self) -> tuple[str, ...]:
        """Return the columns that tell its rows apart: those that the log knows them by."""
        return self.identity or self.primary


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
        [
            PinnedColumn(name=row["attname"], type=type_of(row["type"]))
            for row in columns
            if not row["generated"]
        ],
        primary,
        {"d": primary, "i": index, "f": primary}.get(kind, ()),
        {row["attname"]: row["type"] + row["collation"] for row in columns},
        found["inherited"],
    )


async def bounds(
    connection: Connection[Record], table: SourceTable, ranges: int
) -> tuple[str, ...]:
    """Return where ranges of the first key end, but the last one; fewer where rows are few."""
    if ranges == 1:
        return ()
    name, key = quoted(table.name), quoted(table.keys[0])
    size: float = await connection.fetchval(SQL["size"], name)
    percent = min(100.0, 100 * SAMPLED_ROWS / size)
    shares = "{" + ",".join(str(number / ranges) for number in range(1, ranges)) + "}"
    query = SQL["bounds"].format(shares=literal(shares), key=key, table=name, percent=percent)
    found: list[str] | None = await connection.fetchval(query)
    return tuple(dict.fromkeys(found or ()))


def require_keys(table: SourceTable) -> None:
    """Refuse a table that cannot be read on where reading was broken off.

    Raises:
        Rejected: it has no key.
    """
    if not table.keys:
        message = (
            f"table {str(table.name)!r} has no primary key to read it in order of; give it one"
        )
        raise Rejected(message, field="options.table")
    if generated := {*table.keys} - {column.name for column in table.columns}:
        message = f"table {str(table.name)!r} has a key column that is generated, and not logged:"
        raise Rejected(f"{message} {min(generated)!r}", field="options.table")


def require_identity(table: SourceTable) -> None:
    """Refuse a table of whose rows the log would not tell which was changed.

    Raises:
        Rejected: it has none; published, it would refuse updates and deletions.
    """
    if table.inherited:
        message = (
            f"table {str(table.name)!r} is inherited from, and its log tells no rows of others"
        )
        raise Rejected(f"{message}; name one of those", field="options.table")
    if table.identity:
        return
    where = quoted(table.name)
    raise Rejected(
        f"table {str(table.name)!r} has no primary key that tells its rows apart in the log; give"
        f" it one, or ALTER TABLE {where} REPLICA IDENTITY USING INDEX a unique one",
        field="options.table",
    )
