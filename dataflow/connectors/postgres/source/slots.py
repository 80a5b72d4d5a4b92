"""What the server keeps for a pipeline: a publication, and a slot that holds the log back."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress
from hashlib import blake2b
from urllib.parse import unquote, urlsplit

from asyncpg import Connection, Record
from asyncpg.exceptions import DuplicateObjectError

from dataflow.connect import Context, PipelineId, Rejected, Unavailable
from dataflow.connectors.postgres.names import literal, quoted
from dataflow.connectors.postgres.source.catalog import SQL, SourceTable
from dataflow.connectors.postgres.source.refusals import (
    ahead,
    lost,
    set_back,
    translating_slots,
)
from dataflow.connectors.postgres.source.spec import PostgresSourceOptions

SHOWN_MAX = 36
"""Characters of a pipeline's id in a name of 63, beside ``dataflow_``, ``_`` and the digest."""

PLUGIN = "pgoutput"

MADE = "made by DataFlow for the slot "
"""Begins the comment on a publication that was made here; the slot's name follows."""

CREATE_S = 60.0
"""A slot waits for the end of every transaction that writes at that moment."""

ENDING_S, ENDING_TRIES = 0.02, 250
"""A session that is ended takes milliseconds to let go of its slot, and five seconds at most."""


def slot_name(pipeline: PipelineId, step: str, database: str) -> str:
    """Return the name of a pipeline's slot: names are the whole server's, not a database's."""
    digest = blake2b(f"{pipeline} {step} {database}".encode(), digest_size=8).hexdigest()
    return f"dataflow_{pipeline[:SHOWN_MAX].replace('-', '_')}_{digest}"


def slot_of(options: PostgresSourceOptions, context: Context, url: str) -> str:
    """Return the name of the slot that a step reads."""
    database = unquote(urlsplit(url).path.lstrip("/"))
    return options.slot or slot_name(context.pipeline, context.step, database)


class Slot:
    """A slot and its publication, by a session that asks."""

    def __init__(
        self, connection: Connection[Record], where: str, name: str, publication: str
    ) -> None:
        self._connection = connection
        self._where = where
        self._name = name
        self._publication = publication

    async def require_server(self) -> None:
        """Refuse a server whose log cannot be decoded, or whose texts cannot.

        Raises:
            Rejected: it is such a server.
        """
        settings = await self._connection.fetchrow(SQL["settings"])
        if settings is None or settings["wal_level"] != "logical":
            raise Rejected(
                f"{self._where}: wal_level is {settings and settings['wal_level']}, and its log"
                " tells no changes; set wal_level to logical, and restart the server",
                field="connectionString",
            )
        if settings["encoding"] == "SQL_ASCII":
            raise Rejected(
                f"{self._where}: the database's encoding is SQL_ASCII, so its texts are of none;"
                " read one in UTF8",
                field="connectionString",
            )

    async def publish(self, table: SourceTable) -> None:
        """Have changes of the table published, BEFORE a slot is made: it sees what was there then.

        Raises:
            Rejected: the publication cannot be made.
        """
        if await self._published(table) is not None:
            return
        create = (
            f"CREATE PUBLICATION {quoted(self._publication)} FOR TABLE {quoted(table.name)}"
            " WITH (publish_via_partition_root = true)"
        )
        with translating_slots(self._where, self._name), suppress(DuplicateObjectError):
            await self._connection.execute(f"{create}; COMMENT ON PUBLICATION {self._ours}")

    async def require_published(
        self, table: SourceTable, *, whole: bool, ignored: Collection[str] = ()
    ) -> None:
        """Refuse a publication by which changes of the table would be missing, and nobody told.

        Args:
            table: what is read.
            ignored: kinds of changes that nobody wants to hear of.
            whole: every row of it, for those that are there are read without regard to a filter.

        Raises:
            Rejected: the publication does not hold the table, or not all of it.
        """
        name, of = quoted(self._publication), quoted(table.name)
        found = await self._published(table)
        if found is None or not found["covers"]:
            why = (
                f"does not hold table {str(table.name)!r}; ALTER PUBLICATION {name} ADD TABLE {of},"
                " or if it holds all, but its parts by their own names,"
                " SET (publish_via_partition_root = true)"
            )
        elif untold := {*found["untold"]} - {*ignored}:
            kinds = ", ".join(sorted(untold))
            why = f"leaves out some of what happens to {str(table.name)!r}: {kinds}; ALTER"
            why += f" PUBLICATION {name} SET (publish = 'insert, update, delete, truncate')"
        elif found["hidden"]:
            why = f"leaves out columns of {str(table.name)!r}: {', '.join(found['hidden'])}"
        elif whole and found["rows"]:
            why = f"leaves out rows of {str(table.name)!r}, and the table is read with them; set"
            why += " snapshot to false, or take a publication without WHERE"
        else:
            return
        raise Rejected(
            f"{self._where}: publication {self._publication!r} {why}", field="options.publication"
        )

    async def _published(self, table: SourceTable) -> Record | None:
        where = table.name.schema, table.name.name
        return await self._connection.fetchrow(SQL["publication"], self._publication, *where)

    async def renew(self) -> int:
        """Make the slot, in place of one that is there; returns where changes begin."""
        await self.end_reader()
        with translating_slots(self._where, self._name):
            await self._connection.execute(SQL["drop_slot"], self._name)
            lsn: int = await self._connection.fetchval(
                SQL["create_slot"], self._name, timeout=CREATE_S
            )
        return lsn

    @property
    def _ours(self) -> str:
        """Return what tells a publication that was made here from others."""
        return f"{quoted(self._publication)} IS {literal(MADE + self._name)}"

    async def remove(self, *, drops_slot: bool) -> None:
        """Drop the publication, if it was made here, and the slot.

        Raises:
            Rejected: the user may not.
            Unavailable: the slot's reader has not ended.
        """
        with translating_slots(self._where, self._name):
            if drops_slot:
                await self.end_reader()
                await self._connection.execute(SQL["drop_slot"], self._name)
            made = await self._connection.fetchval(SQL["comment"], self._publication)
            if made == MADE + self._name:
                await self._connection.execute(f"DROP PUBLICATION {quoted(self._publication)}")

    async def require(self) -> int:
        """Return up to where the slot's changes are decided.

        Raises:
            Rejected: it is not there, is another's, or has lost what was not read.
        """
        slot = await self._connection.fetchrow(SQL["slot"], self._name)
        if slot is None:
            raise lost(self._where, self._name, "is gone")
        if slot["lost"]:
            raise lost(self._where, self._name, "has been invalidated")
        database = await self._connection.fetchval("SELECT current_database()")
        if (slot["plugin"], slot["database"]) != (PLUGIN, database):
            raise Rejected(
                f"{self._where}: replication slot {self._name!r} is of plug-in {slot['plugin']} and"
                f" database {slot['database']}; name one of {PLUGIN} and {database}",
                field="options.slot",
            )
        lsn: int = slot["lsn"]
        return lsn

    async def require_from(self, position: int) -> None:
        """Refuse a slot that does not hold all changes from a position on.

        Only what is decided is ever acknowledged, so its own pipeline never moves it so far.

        Raises:
            Rejected: it begins later, or the log ends before; or as ``require``.
        """
        at = await self.require()
        if at > position:
            raise ahead(self._where, self._name, at, position)
        end: int = await self._connection.fetchval(SQL["now"])
        if end < position:
            raise set_back(self._where, end, position)

    async def end_reader(self) -> None:
        """End the session that reads the slot: of an older run, which may be frozen.

        Raises:
            Unavailable: it has not ended.
        """
        for _ in range(ENDING_TRIES):
            if not await self._connection.fetch(SQL["end_reader"], self._name):
                return
            await asyncio.sleep(ENDING_S)
        raise Unavailable(f"{self._where}: slot {self._name!r} is still read by another session")
