"""The thread that keeps a node's lease, as a process beside the node's: the other one may be stuck.

It decides by the shipped ``Lease``; only its waiting is its own, for a thread of the real one
blocks where this one lets virtual time pass.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from dataflow.cluster.coordination.contract import Keeper, LeaseId, LeaseLost
from dataflow.cluster.lease import MARGIN, Lease
from dataflow.core.clock import Clock
from dataflow.core.errors import Unavailable
from tests.simulation.coordination import Server
from tests.simulation.network import Network, TimedOut
from tests.simulation.processes import Process


class Told:
    """A ``Keeper`` that repeats what the service has said, or that it has said nothing."""

    def __init__(self, said: timedelta | LeaseLost | Unavailable) -> None:
        self._said = said

    def keep_alive(self, lease: LeaseId) -> timedelta:
        """See ``Keeper.keep_alive``."""
        del lease
        if isinstance(self._said, timedelta):
            return self._said
        raise self._said

    def close(self) -> None:
        """See ``Keeper.close``."""


class AskedAt:
    """A clock that, while an answer is taken, stands at the time of the question."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.asked_s: float | None = None

    def now(self) -> datetime:
        """See ``Clock.now``."""
        return self._clock.now()

    def steady(self) -> float:
        """See ``Clock.steady``."""
        return self._clock.steady() if self.asked_s is None else self.asked_s


class RemoteKeeper:
    """Asks the service for a lease thread, from the thread's own lane."""

    def __init__(
        self,
        node: Process,
        thread: Process,
        network: Network,
        server: Server,
        *,
        clock: AskedAt,
        end: Callable[[], None],
    ) -> None:
        self.node = node
        self.thread = thread
        self.clock = clock
        self.end = end
        """What the watchdog does to a node that does not stop serving."""
        self._network = network
        self._server = server

    async def ask(self, lease: Lease) -> timedelta | LeaseLost | Unavailable:
        """Return what the service says to one keepalive."""
        try:
            return await self._network.ask(
                self.thread,
                self._server.process,
                lambda: self._server.keep_alive(lease.number),
                lease.ttl_s / 10,
            )
        except LeaseLost as error:
            return error
        except TimedOut:
            return Unavailable("no member answers")

    def keep_alive(self, lease: LeaseId) -> timedelta:
        """Nobody may block here."""
        raise NotImplementedError(lease)

    def close(self) -> None:
        """See ``Keeper.close``."""


class Keeping:
    """Stands in for ``LeaseThread``: keeps a lease until it is lost; then its node has a while."""

    def __init__(self, lease: Lease, keeper: Keeper, lost: Callable[[], object]) -> None:
        assert isinstance(keeper, RemoteKeeper)
        self._lease = lease
        self._keeper = keeper
        self._lost = lost
        self._let_go = False
        self._stopped = False

    def start(self) -> None:
        """See ``LeaseThread.start``."""
        self._keeper.thread.spawn(self._work())

    def let_go(self) -> None:
        """See ``LeaseThread.let_go``."""
        self._let_go = True

    def stop(self) -> None:
        """See ``LeaseThread.stop``."""
        self._stopped = self._let_go = True

    async def _work(self) -> None:
        lease, keeper = self._lease, self._keeper
        while not self._stopped:
            asked_s = keeper.clock.steady()
            said = await keeper.ask(lease)
            keeper.clock.asked_s = asked_s
            try:
                pause_s = lease.keep_by(Told(said))
            finally:
                keeper.clock.asked_s = None
            if not lease.is_held:
                await self._doubt()
                return
            await asyncio.sleep(min(pause_s, lease.left_s))

    async def _doubt(self) -> None:
        self._keeper.node.call(self._lost)
        await asyncio.sleep(self._lease.ttl_s * MARGIN)
        if not self._let_go:
            self._keeper.end()
