"""A session with the server: made, named and ended."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import quote

import asyncpg
from asyncpg import Connection, Record
from asyncpg.exceptions import ClientConfigurationError

from dataflow.connect import Rejected, Unavailable
from dataflow.connectors.postgres.errors import FAILURES, translating

CONNECT_S = 10.0
"""A server that takes longer is too busy to be written to."""

CLOSE_S = 2.0
"""For a farewell; the server rolls back in any case."""

SETTINGS = {
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "client_encoding": "UTF8",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}
"""Values are read as they are written here; and the server notices within a minute that this
machine is gone, which lets go of its locks."""

DURABLE = """
SELECT set_config('synchronous_commit', 'on', false)
WHERE current_setting('synchronous_commit') = 'off'"""
"""Without it a crash of the server could take back a decision that the engine has heard of."""

_REFERENCE = re.compile(r"\$\{[^}]*\}")


def resolved(text: str, secret: Callable[[str], str]) -> str:
    """Return a connection string with its references resolved.

    What stands for a part of it may hold any character; what stands for all of it is a URL.
    """
    if _REFERENCE.fullmatch(text):
        return secret(text)
    return _REFERENCE.sub(lambda found: quote(secret(found[0]), safe=":,."), text)


def server_of(url: str) -> str:
    """Return host, port and database, for errors: never what stands before them."""
    return url.partition("://")[2].rpartition("@")[2].partition("?")[0]


async def connect(url: str, name: str, *, writes: bool = True) -> Connection[Record]:
    """Return a session of this name; one that ``writes`` needs a primary.

    Raises:
        Rejected: the server refuses the user or knows no such database, or is read-only by its
            settings.
        Unavailable: it cannot be reached, or is a replica at the moment.
    """
    where = server_of(url)
    with translating(where):
        connection = await _connected(url, name)
        await connection.execute(DURABLE)
        replica = writes and await connection.fetchval("SELECT pg_is_in_recovery()")
    if replica:
        connection.terminate()
        raise Unavailable(
            f"{where}: is a replica, which cannot be written to; name the primary, or several"
            " hosts and target_session_attrs=read-write"
        )
    return connection


async def _connected(url: str, name: str) -> Connection[Record]:
    try:
        return await asyncpg.connect(
            url,
            timeout=CONNECT_S,
            statement_cache_size=0,
            server_settings={**SETTINGS, "application_name": name},
        )
    except ClientConfigurationError:
        raise  # says what is wrong with an option
    except ValueError as error:  # of a port that is no number; it may quote what stands before it
        message = "is no URL; write postgresql://user:password@host:port/database"
        raise Rejected(message, field="connectionString") from error


@asynccontextmanager
async def connected(
    url: str, name: str, *, writes: bool = True
) -> AsyncIterator[Connection[Record]]:
    """Have a session for one question; raises as ``connect``, and translates what comes of it."""
    connection = await connect(url, name, writes=writes)
    try:
        with translating(server_of(url)):
            yield connection
    finally:
        await close(connection, is_sound=True)


async def close(connection: Connection[Record], *, is_sound: bool) -> None:
    """End a session; the server rolls back what is open."""
    if not is_sound:
        connection.terminate()
        return
    try:
        await connection.close(timeout=CLOSE_S)
    except FAILURES:
        connection.terminate()
