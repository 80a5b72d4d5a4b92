"""The network between simulated processes: late, lossy, repeating, out of order, and cut.

It is a datagram network, the worst that TCP and a proxy that dies leave of one: a request that was
lost, one that arrives long after its sender gave up, and an answer that never comes look alike to
who waits. What travels on a pipe between parent and child keeps its order and is never lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from tests.simulation.loop import Loop
from tests.simulation.processes import Process

T = TypeVar("T")

LATE_S_MAX = 9.0
"""How late a late message comes at most: three leases."""


@dataclass(slots=True)
class Weather:
    """How bad the network is; every figure but the delay is a chance a message."""

    delay_s: float = 0.004
    lost: float = 0.0
    repeated: float = 0.0
    late: float = 0.0


class TimedOut(Exception):
    """Nobody has answered in time; what was asked may happen yet."""


class Network:
    """Carries calls between processes, as the seed's weather and cuts allow."""

    def __init__(self, loop: Loop, random: Random) -> None:
        self._loop = loop
        self._random = random
        self.weather = Weather()
        self._cut: dict[tuple[str, str], int] = {}

    def cut(self, source: str, target: str) -> None:
        """Let nothing through in one direction; cuts count."""
        self._cut[source, target] = self._cut.get((source, target), 0) + 1

    def mend(self, source: str, target: str) -> None:
        """Take one cut back."""
        left = self._cut.get((source, target), 0) - 1
        if left > 0:
            self._cut[source, target] = left
        else:
            self._cut.pop((source, target), None)

    def send(
        self, source: Process, target: Process, deliver: Callable[..., None], *args: Any
    ) -> None:
        """Carry one message, maybe."""
        weather, random = self.weather, self._random.random
        if (source.name, target.name) in self._cut or random() < weather.lost:
            return
        self._deliver_later(source, target, deliver, args)
        if weather.repeated and random() < weather.repeated:
            self._deliver_later(source, target, deliver, args)

    def _deliver_later(
        self, source: Process, target: Process, deliver: Callable[..., None], args: tuple[Any, ...]
    ) -> None:
        weather, random = self.weather, self._random.random
        delay_s = weather.delay_s * (0.5 + random())
        if weather.late and random() < weather.late:
            delay_s += random() * LATE_S_MAX
        if self._cut:
            target.call_at(self._loop.time() + delay_s, self._arrive, source, target, deliver, args)
        else:
            target.call_at(self._loop.time() + delay_s, deliver, *args)

    def _arrive(
        self, source: Process, target: Process, deliver: Callable[..., None], args: tuple[Any, ...]
    ) -> None:
        if (source.name, target.name) not in self._cut:
            deliver(*args)

    async def ask(
        self, source: Process, target: Process, handle: Callable[[], T], patience_s: float
    ) -> T:
        """Have ``target`` do something at once, and return or raise what came of it.

        Raises:
            TimedOut: no answer came; it may have been done, or be done later, or twice.
        """
        answered: asyncio.Future[T] = self._loop.create_future()

        def arrive() -> None:
            try:
                done = handle()
            except Exception as error:  # noqa: BLE001 - it is the answer
                self.send(target, source, _fail, answered, error)
            else:
                self.send(target, source, _answer, answered, done)

        return await self.wait(source, target, arrive, answered, patience_s=patience_s)

    async def wait(
        self,
        source: Process,
        target: Process,
        arrive: Callable[[], None],
        answered: asyncio.Future[T],
        *,
        patience_s: float,
    ) -> T:
        """Send a request, and wait so long for somebody to answer."""
        self.send(source, target, arrive)
        timer = self._loop.call_later(patience_s, _fail, answered, TimedOut(target.name))
        try:
            return await answered
        finally:
            timer.cancel()

    def reply(
        self, source: Process, target: Process, answered: asyncio.Future[Any], result: Any
    ) -> None:
        """Send what came of a request: an exception is raised to who waits."""
        give = _fail if isinstance(result, BaseException) else _answer
        self.send(source, target, give, answered, result)


def _answer(answered: asyncio.Future[Any], result: Any) -> None:
    if not answered.done():
        answered.set_result(result)


def _fail(answered: asyncio.Future[Any], error: BaseException) -> None:
    if not answered.done():
        answered.set_exception(error)


class Pipe:
    """One direction between parent and child: in order, nothing lost, gone with either."""

    def __init__(self, loop: Loop, random: Random, target: Process) -> None:
        self._loop = loop
        self._random = random
        self._target = target
        self._free_at_s = 0.0

    def send(self, deliver: Callable[..., None], *args: Any) -> None:
        """Carry a message behind those before it."""
        arrives_s = self._loop.time() + 0.001 + 0.004 * self._random.random()
        self._free_at_s = max(arrives_s, self._free_at_s)
        self._target.call_at(self._free_at_s, deliver, *args)
