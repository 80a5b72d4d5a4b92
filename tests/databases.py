"""An empty database of a PostgreSQL for each test, and somebody to look into it."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, TypeVar

import asyncpg
import psycopg
import pytest

from deploy.stack.postgres import USER

T = TypeVar("T")

_NUMBER = count()


class Database:
    """One database, asked from a thread of its own: tests look at it in and out of coroutines."""

    def __init__(self, address: str, name: str) -> None:
        self.address = address
        self.name = name
        self.url = self.at(address)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    def at(self, address: str, user: str = USER) -> str:
        """Return the URL of this database by another way to it, or as another user."""
        return f"postgresql://{user}@{address}/{self.name}"

    def execute(self, sql: str) -> None:
        """Carry out statements."""
        self._with(lambda connection: connection.execute(sql))

    def fetch(self, sql: str) -> list[tuple[Any, ...]]:
        """Return rows."""
        return [tuple(row) for row in self._with(lambda connection: connection.fetch(sql))]

    def column(self, sql: str) -> list[Any]:
        """Return the first column of rows."""
        return [row[0] for row in self.fetch(sql)]

    def witnessed(self, sql: str) -> list[tuple[Any, ...]]:
        """Return rows as another driver sees them than the one that sinks write with."""
        with psycopg.connect(self.url) as connection:
            return connection.execute(sql.encode()).fetchall()

    def forget(self) -> None:
        """Let go of the session: the server is about to end."""
        self._wait(self._close())

    def close(self) -> None:
        """End the thread."""
        self.forget()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _close(self) -> None:
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    def _with(self, act: Callable[[asyncpg.Connection[asyncpg.Record]], Awaitable[T]]) -> T:
        return self._wait(self._ask(act))

    async def _ask(self, act: Callable[[asyncpg.Connection[asyncpg.Record]], Awaitable[T]]) -> T:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(self.url)
        return await act(self._connection)

    def _wait(self, asked: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(asked, self._loop).result(timeout=60)


@contextmanager
def database_of(address: str) -> Iterator[Database]:
    """Return an empty database of a server; it goes in the end."""
    name = f"test_{os.getpid()}_{next(_NUMBER)}"
    server = Database(address, "postgres")
    server.execute(f"CREATE DATABASE {name}")
    database = Database(address, name)
    try:
        yield database
    finally:
        database.close()
        _until_let_go(server, name)
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")
        server.close()


def _until_let_go(server: Database, name: str) -> None:
    """Wait until nobody reads a slot: force does not end who does, nor has he who just left."""
    active = f"SELECT count(active_pid) FROM pg_replication_slots WHERE database = '{name}'"  # noqa: S608 - a name of this module
    for _ in range(500):
        if server.column(active) == [0]:
            return
        time.sleep(0.01)


@pytest.fixture
def database(postgres: str) -> Iterator[Database]:
    """Return an empty database of the machine's PostgreSQL."""
    with database_of(postgres) as made:
        yield made
