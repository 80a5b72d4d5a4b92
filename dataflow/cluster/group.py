"""Group commit: while one write is under way, the next one gathers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Generic, TypeVar

from dataflow.cluster.turns import Turns
from dataflow.core.errors import DataFlowError, Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")


class Group(Generic[Item, Result]):
    """Hands items to ``write`` in order, many at a time, one call at a time.

    A result that is a ``DataFlowError`` is raised to the caller of its item; an exception of
    ``write`` itself to the callers of all of its items. Nothing runs while nothing is waiting.
    Groups that share ``turns`` write in turn.
    """

    def __init__(
        self,
        write: Callable[[Sequence[Item]], Awaitable[Sequence[Result | DataFlowError]]],
        tasks: asyncio.TaskGroup,
        *,
        items_max: int,
        waiting_max: int,
        turns: Turns | None = None,
    ) -> None:
        self._write = write
        self._tasks = tasks
        self._items_max = items_max
        self._waiting_max = waiting_max
        self._turns = turns
        self._waiting: deque[tuple[Item, asyncio.Future[Result]]] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._closed: DataFlowError | None = None

    def submit(self, item: Item) -> asyncio.Future[Result]:
        """Queue an item; the future is its result.

        Raises:
            Unavailable: too many are waiting already.
            DataFlowError: the one that it was closed with.
        """
        if self._closed is not None:
            raise self._closed
        if len(self._waiting) >= self._waiting_max:
            raise Unavailable(f"{self._waiting_max} requests are waiting; try again")
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._writer is None:
            self._writer = self._tasks.create_task(self._drain())
        return future

    async def idle(self) -> None:
        """Return when everything submitted so far has been written."""
        while self._writer is not None:
            await asyncio.wait({self._writer})

    def close(self, error: DataFlowError) -> None:
        """Take nothing more, and refuse what waits; what is being written comes to its end."""
        self._closed = error
        for _, future in self._waiting:
            if not future.done():
                future.set_exception(error)
        self._waiting.clear()

    def cancel(self, error: DataFlowError) -> None:
        """Close, and give up what is being written: its outcome stays unknown."""
        self.close(error)
        if self._writer is not None:
            self._writer.cancel()

    async def _drain(self) -> None:
        try:
            while self._waiting:
                async with self._turns.turn() if self._turns else nullcontext():
                    # AFTER the turn has come: what waited for it gathers.
                    taken = list(islice(self._waiting, self._items_max))
                    for _ in taken:
                        self._waiting.popleft()
                    if taken:
                        await self._write_one(taken)
        finally:
            self._writer = None

    async def _write_one(self, taken: Sequence[tuple[Item, asyncio.Future[Result]]]) -> None:
        try:
            results = await self._write([item for item, _ in taken])
        except BaseException as error:
            self._fail(taken, error)
            if not isinstance(error, DataFlowError):
                raise
            return
        for (_, future), result in zip(taken, results, strict=True):
            if future.done():
                continue
            if isinstance(result, DataFlowError):
                future.set_exception(result)
            else:
                future.set_result(result)

    @staticmethod
    def _fail(taken: Sequence[tuple[Item, asyncio.Future[Result]]], error: BaseException) -> None:
        shown = (
            error
            if isinstance(error, DataFlowError)
            else Unavailable("the shard is closing; ask again", code="OUTCOME_UNKNOWN")
        )
        for _, future in taken:
            if not future.done():
                future.set_exception(shown)
