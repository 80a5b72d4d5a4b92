"""An event loop of its own thread: the networks before the nodes go on between two tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


class Background:
    """Runs coroutines for a thread that waits for them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def run(self, work: Coroutine[Any, Any, T], patience_s: float) -> T:
        """Return what a coroutine returns.

        Raises:
            TimeoutError: it took too long, and was cancelled.
        """
        return asyncio.run_coroutine_threadsafe(_within(work, patience_s), self._loop).result()

    @contextmanager
    def entered(self, context: AbstractAsyncContextManager[T], patience_s: float) -> Iterator[T]:
        """Hold an asynchronous context open until the block is left."""
        leave = asyncio.Event()
        entered = threading.Event()
        found: list[T] = []

        async def hold() -> None:
            async with context as made:
                found.append(made)
                entered.set()
                await leave.wait()

        holding = asyncio.run_coroutine_threadsafe(hold(), self._loop)
        holding.add_done_callback(lambda _: entered.set())
        if not entered.wait(patience_s):
            holding.cancel()
            raise TimeoutError(f"not entered within {patience_s:g} s")
        if not found:
            holding.result()
        try:
            yield found[0]
        finally:
            self._loop.call_soon_threadsafe(leave.set)
            holding.result(patience_s)


async def _within(work: Coroutine[Any, Any, T], patience_s: float) -> T:
    async with asyncio.timeout(patience_s):
        return await work


@contextmanager
def background() -> Iterator[Background]:
    """Run a loop in a thread until the block is left."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="background", daemon=True)
    thread.start()
    try:
        yield Background(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
