"""What the suite of coordination shares: the implementations, and clients of one service."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, ExitStack

import pytest

from dataflow.app.clock import SystemClock
from dataflow.cluster.coordination.contract import Coordination, Keeper
from dataflow.cluster.coordination.memory import Memory, MemoryKeeper, Service


class Shared:
    """One service, a prefix of the test's own, and as many clients as it asks for."""

    prefix = "test/"

    def __init__(self, connect: Callable[[], Coordination], keep: Callable[[], Keeper]) -> None:
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


@pytest.fixture
async def shared() -> AsyncIterator[Shared]:
    """Give a service that holds nothing under the test's prefix."""
    service = Service(SystemClock())
    made = Shared(lambda: Memory(service), lambda: MemoryKeeper(service))
    yield made
    await made.close()


@pytest.fixture
def client(shared: Shared) -> Coordination:
    """Return the first client."""
    return shared.client()
