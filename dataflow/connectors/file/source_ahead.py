"""Reading ahead: while a chunk is consumed, the next are being read and parsed, in order."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import Generic, TypeVar

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")


async def ahead(
    items: Iterator[ItemT],
    work: Callable[[ItemT], ResultT],
    close: Callable[[], None],
    at_once: int = 2,
) -> AsyncGenerator[tuple[ItemT, ResultT], None]:
    """Yield each item and what ``work`` makes of it, in order; both are made in threads.

    Args:
        items: read in a thread, one by one.
        work: done in threads, on ``at_once`` items; as many results wait in memory.
        close: runs when the last thread is done with ``items``, also after an error.
        at_once: of two, one is worked on while the other waits to be taken.
    """
    queue = _Queue(items, work, close, at_once)
    try:
        while await queue.fill():
            yield await queue.first()
    finally:
        queue.abandon()


class _Queue(Generic[ItemT, ResultT]):
    """One item being read, a few being worked on."""

    def __init__(
        self,
        items: Iterator[ItemT],
        work: Callable[[ItemT], ResultT],
        close: Callable[[], None],
        at_once: int,
    ) -> None:
        self._items = items
        self._work = work
        self._close = close
        self._turn = Lock()
        self._at_once = at_once
        self._pool = ThreadPoolExecutor(at_once + 1, thread_name_prefix="file-source")
        self._loop = asyncio.get_running_loop()
        self._working: deque[tuple[ItemT, asyncio.Future[ResultT]]] = deque()
        self._reading: asyncio.Future[ItemT | None] | None = self._read()

    async def fill(self) -> bool:
        """Keep every thread busy; tell whether there is anything to wait for."""
        while self._reading is not None and len(self._working) < self._at_once:
            await asyncio.wait([self._reading])
            if self._working and self._reading.exception():
                break  # what was read before it goes first
            item = await self._reading
            self._reading = None if item is None else self._read()
            if item is not None:
                result = self._loop.run_in_executor(self._pool, self._work, item)
                self._working.append((item, result))
        return bool(self._working)

    async def first(self) -> tuple[ItemT, ResultT]:
        """Wait for the item that came first."""
        item, result = self._working[0]
        done = item, await result
        self._working.popleft()
        return done

    def abandon(self) -> None:
        """Let the threads end; nobody waits for what they still do."""
        if self._reading is not None:
            _forget(self._reading)
        for _, result in self._working:
            _forget(result)
        self._pool.submit(self._finish)
        self._pool.shutdown(wait=False)

    def _read(self) -> asyncio.Future[ItemT | None]:
        return self._loop.run_in_executor(self._pool, self._take)

    def _take(self) -> ItemT | None:
        with self._turn:
            return next(self._items, None)

    def _finish(self) -> None:
        with self._turn:
            self._close()


def _forget(future: asyncio.Future[ResultT]) -> None:
    if not future.cancel():
        future.exception()  # else asyncio logs that nobody looked at it
