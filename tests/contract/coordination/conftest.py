"""What the suite of coordination shares: the implementations, and clients of one service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from datetime import timedelta
from random import Random

import pytest

from dataflow.app.clock import SystemClock
from dataflow.cluster.coordination.contract import Coordination, Delete, Keeper
from dataflow.cluster.coordination.etcd.client import Etcd
from dataflow.cluster.coordination.etcd.keeper import EtcdKeeper
from dataflow.cluster.coordination.etcd.place import Place
from dataflow.cluster.coordination.memory import Memory, MemoryKeeper, Service
from dataflow.cluster.coordination.rules import OPERATIONS_MAX

KEEPER_TTL = timedelta(seconds=10)
"""A keeper waits a tenth of it: on a busy machine that is not too long."""


class Shared:
    """One service, a prefix of the test's own, and as many clients as it asks for."""

    def __init__(
        self, prefix: str, connect: Callable[[], Coordination], keep: Callable[[], Keeper]
    ) -> None:
        self.prefix = prefix
        self._connect = connect
        self._keep = keep
        self._clients = AsyncExitStack()
        self._keepers = ExitStack()

    def client(self) -> Coordination:
        """Return one more client, which is closed when the test ends."""
        made = self._connect()
        self._clients.push_async_callback(made.close)
        return made

    def keeper(self) -> Keeper:
        """Return one more keeper, which is closed when the test ends."""
        made = self._keep()
        self._keepers.callback(made.close)
        return made

    async def close(self) -> None:
        """Close what was made."""
        self._keepers.close()
        await self._clients.aclose()


def in_memory() -> Shared:
    """Return a service of its own."""
    service = Service(SystemClock())
    return Shared("test/", lambda: Memory(service), lambda: MemoryKeeper(service))


def in_etcd(endpoint: str) -> Shared:
    """Return the machine's etcd, of which a prefix is the test's."""
    place, prefix = Place([endpoint]), f"test-{Random().getrandbits(64):016x}/"
    return Shared(prefix, lambda: Etcd(place), lambda: EtcdKeeper(place, KEEPER_TTL))


@asynccontextmanager
async def cleaned(made: Shared) -> AsyncIterator[Shared]:
    """Leave nothing behind."""
    yield made
    client = made.client()
    listing = await client.list(made.prefix)
    while listing.entries:
        effects = [Delete(entry.key) for entry in listing.entries[:OPERATIONS_MAX]]
        await client.transact([], effects)
        listing = await client.list(made.prefix)
    await made.close()


@pytest.fixture
async def real(etcd: str) -> AsyncIterator[Shared]:
    """Give etcd, whatever else there is."""
    async with cleaned(in_etcd(etcd)) as made:
        yield made


@pytest.fixture(params=["memory", "etcd"])
async def shared(request: pytest.FixtureRequest) -> AsyncIterator[Shared]:
    """Give a service that holds nothing under the test's prefix."""
    in_this = in_memory() if request.param == "memory" else in_etcd(request.getfixturevalue("etcd"))
    async with cleaned(in_this) as made:
        yield made


@pytest.fixture
def client(shared: Shared) -> Coordination:
    """Return the first client."""
    return shared.client()
