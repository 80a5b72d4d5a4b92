"""Writing behind: what waits is written in one round, and while that lasts the next one gathers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

import structlog

from dataflow.core.errors import Code, DataFlowError, Unavailable

log = structlog.get_logger()

RETRY_S = 0.5
"""Between rounds that fail: the store is down, and everything in front of it waits, too."""

Item = TypeVar("Item")


class Rounds(Generic[Item]):
    """Hands items to ``write`` in order, all that wait at once, one call at a time.

    A round that fails is written again, later and with what has come since, so ``write`` must bear
    the same items twice.
    """

    def __init__(
        self,
        name: str,
        write: Callable[[Sequence[Item]], Awaitable[None]],
        *,
        gather_s: float,
        waiting_max: int | None = None,
    ) -> None:
        """Begin; ``close`` ends it.

        Args:
            name: of what is written, for the reader of an error.
            write: raises ``DataFlowError`` where not all of a round could be written.
            gather_s: how long items gather while nobody asks for them.
            waiting_max: how many may wait in vain. Past it they are forgotten and nothing more is
                taken: only a new owner, who reads the log, can bring the rest. None: as many as
                the caller adds.
        """
        self._name = name
        self._write = write
        self._gather_s = gather_s
        self._waiting_max = waiting_max
        self._waiting: list[Item] = []
        self._settlers: list[asyncio.Future[None]] = []
        self._wanted = asyncio.Event()
        self._hurried = asyncio.Event()
        self._closing = False
        self._broken: DataFlowError | None = None
        # The one task of each; ``close`` awaits it.
        self._task = asyncio.get_running_loop().create_task(self._run(), name=name)

    def __len__(self) -> int:
        """Return how many items wait for the next round."""
        return len(self._waiting)

    def add(self, items: Sequence[Item]) -> None:
        """Have items written soon."""
        if self._broken is None:
            self._waiting += items
            self._wanted.set()

    def hurry(self) -> None:
        """Begin a round now."""
        self._hurried.set()

    async def settled(self) -> None:
        """Return when all that was added before has been written.

        Raises:
            Unavailable: it cannot be written now.
        """
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._settlers.append(answer)
        self._wanted.set()
        self._hurried.set()
        await answer

    async def close(self) -> None:
        """Write what waits, once."""
        self._closing = True
        self._wanted.set()
        self._hurried.set()
        await self._task

    async def _run(self) -> None:
        while True:
            await self._wanted.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._gather_s):
                    await self._hurried.wait()
            self._wanted.clear()
            self._hurried.clear()
            failure = await self._round()
            if self._closing and (failure is not None or not self._waiting):
                return
            if failure is not None:
                await asyncio.sleep(RETRY_S)
                self._wanted.set()

    async def _round(self) -> DataFlowError | None:
        taken, self._waiting = self._waiting, []
        settlers, self._settlers = self._settlers, []
        failure = self._broken
        if taken and failure is None:
            failure = await self._tried(taken)
            if failure is not None:
                self._keep(taken, failure)
        for settler in settlers:
            _answer(settler, failure)
        return failure

    def _keep(self, taken: Sequence[Item], failure: DataFlowError) -> None:
        self._waiting = [*taken, *self._waiting]
        waiting = len(self._waiting)
        log.warning("written later", what=self._name, waiting=waiting, why=str(failure))
        if self._waiting_max is not None and waiting > self._waiting_max:
            self._broken = failure
            self._waiting.clear()

    async def _tried(self, taken: Sequence[Item]) -> DataFlowError | None:
        try:
            await self._write(taken)
        except DataFlowError as error:
            return error
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            failure = DataFlowError(f"{self._name}: {error!r}", code=Code.INTERNAL)
            failure.__cause__ = error
            return failure
        return None


def _answer(settler: asyncio.Future[None], failure: DataFlowError | None) -> None:
    if settler.done():
        return
    if failure is None:
        settler.set_result(None)
    else:
        # Each of its own: a raised exception is its raiser's.
        settler.set_exception(Unavailable(failure.message, code=failure.code))


async def write_all(
    requests: Sequence[Item], write: Callable[[Item], Awaitable[None]], in_flight_max: int
) -> None:
    """Write requests, some at a time; of several that fail the first one's error is raised."""
    remaining = iter(requests)
    failures: list[DataFlowError] = []

    async def write_some() -> None:
        for request in remaining:
            try:
                await write(request)
            except DataFlowError as error:
                failures.append(error)
            if failures:
                return

    async with asyncio.TaskGroup() as group:
        for _ in range(min(in_flight_max, len(requests))):
            group.create_task(write_some())
    if failures:
        raise failures[0]
