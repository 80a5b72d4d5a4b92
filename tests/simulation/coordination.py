"""The coordination service as a node sees it: lists, transactions, leases and watches, unreliably.

The service is the memory twin in a process of its own. A watch is a question that waits at the
service until there is an answer: cut off, it is asked again behind what was last heard, so that it
lags but misses nothing, unless the service has forgotten that far back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from typing import TypeVar

from dataflow.cluster.coordination import contract as c
from dataflow.cluster.coordination.memory import Looked, Service
from dataflow.core.clock import Clock
from dataflow.core.errors import Code, DataFlowError, Unavailable
from tests.simulation.network import Network, TimedOut
from tests.simulation.processes import Process

T = TypeVar("T")

PATIENCE_S = 1.0
"""How long a client waits for the service before it does not know."""

WATCH_S = 3.0
"""How long a watch waits for news before it asks again whether anybody is there."""

EXPIRE_EVERY_S = 0.2
"""How late the service may notice that a lease is due."""


class Server(Service):
    """The memory twin, with watches that wait, and leases that may be lied about."""

    def __init__(
        self, clock: Clock, process: Process, network: Network, note: Callable[..., None]
    ) -> None:
        super().__init__(clock)
        self._note = note
        self.process = process
        self._network = network
        self._waiting: list[tuple[str, c.Revision, Process, asyncio.Future[Looked]]] = []
        self.lies = False
        """Whether a lease that is gone is said to have been kept, as some versions of etcd did."""
        process.spawn(self._tick())

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE_EVERY_S)
            self.expire()

    def transact(
        self, conditions: Sequence[c.Condition], effects: Sequence[c.Effect]
    ) -> c.Transacted:
        """See ``Coordination.transact``."""
        done = super().transact(conditions, effects)
        what = "does" if done.succeeded else "refuses"
        self._note("coordination", what, *(f"{type(e).__name__} {e.key}" for e in effects))
        return done

    def keep_alive(self, lease: c.LeaseId) -> timedelta:
        """See ``Keeper.keep_alive``."""
        try:
            return super().keep_alive(lease)
        except c.LeaseLost:
            if not self.lies:
                raise
            return timedelta(seconds=1)

    def park(
        self, prefix: str, after: c.Revision, client: Process, answered: asyncio.Future[Looked]
    ) -> None:
        """Answer a watch, now or when something has changed."""
        self._waiting = [one for one in self._waiting if not one[3].done()]
        self._waiting.append((prefix, after, client, answered))
        self._look()

    def wake(self) -> None:
        """Let every watch look again."""
        self.process.call(self._look)

    def _look(self) -> None:
        left = []
        for prefix, after, client, answered in self._waiting:
            try:
                looked: Looked | DataFlowError = self.changes(prefix, after)
            except c.Compacted as error:
                looked = error
            if isinstance(looked, DataFlowError) or looked[0]:
                self._network.reply(self.process, client, answered, looked)
            else:
                left.append((prefix, after, client, answered))
        self._waiting = left


class RemoteCoordination:
    """A ``Coordination`` over the network."""

    def __init__(self, network: Network, client: Process, server: Server) -> None:
        self._network = network
        self._client = client
        self._server = server

    async def grant(self, ttl: timedelta) -> c.LeaseId:
        """See ``Coordination.grant``."""
        return await self._ask(lambda: self._server.grant(ttl), Code.OUTCOME_UNKNOWN)

    async def keep_alive(self, lease: c.LeaseId) -> timedelta:
        """See ``Coordination.keep_alive``."""
        return await self._ask(lambda: self._server.keep_alive(lease), Code.OUTCOME_UNKNOWN)

    async def revoke(self, lease: c.LeaseId) -> None:
        """See ``Coordination.revoke``."""
        await self._ask(lambda: self._server.revoke(lease), Code.OUTCOME_UNKNOWN)

    async def list(self, prefix: str) -> c.Listing:
        """See ``Coordination.list``."""
        return await self._ask(lambda: self._server.list(prefix), Code.BUSY)

    async def transact(
        self, conditions: Sequence[c.Condition], effects: Sequence[c.Effect]
    ) -> c.Transacted:
        """See ``Coordination.transact``."""
        return await self._ask(
            lambda: self._server.transact(conditions, effects), Code.OUTCOME_UNKNOWN
        )

    async def watch(self, prefix: str, after: c.Revision) -> AsyncIterator[Sequence[c.Change]]:
        """See ``Coordination.watch``."""
        while True:
            answered: asyncio.Future[Looked] = self._client.loop.create_future()

            def arrive(
                after: c.Revision = after, answered: asyncio.Future[Looked] = answered
            ) -> None:
                self._server.park(prefix, after, self._client, answered)

            try:
                groups, after = await self._network.wait(
                    self._client, self._server.process, arrive, answered, patience_s=WATCH_S
                )
            except TimedOut:
                continue
            for group in groups:
                yield group

    async def close(self) -> None:
        """See ``Coordination.close``."""

    async def _ask(self, work: Callable[[], T], code: Code) -> T:
        try:
            return await self._network.ask(self._client, self._server.process, work, PATIENCE_S)
        except TimedOut:
            raise Unavailable("no member answers", code=code) from None
