"""How many writes a node has under way at once: what waits for its turn goes on gathering."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

TURN_S_MAX = 0.5
"""A write that takes longer no longer keeps the others waiting: a store that does not answer for
one shard may well answer for the next."""


class Turns:
    """Turns of a node's group commits, in the order in which they were asked for.

    A conditional write costs a store more than the events in it. Of 256 callers over 64 shards each
    append takes four events if all shards write at once, and six if eight do.
    """

    def __init__(self, at_once: int) -> None:
        self._free = asyncio.Semaphore(at_once)

    @asynccontextmanager
    async def turn(self) -> AsyncGenerator[None, None]:
        """Wait for a turn, and have it until this is left, or for ``TURN_S_MAX``."""
        await self._free.acquire()
        is_mine = True

        def give_back() -> None:
            nonlocal is_mine
            if is_mine:
                is_mine = False
                self._free.release()

        late = asyncio.get_running_loop().call_later(TURN_S_MAX, give_back)
        try:
            yield
        finally:
            late.cancel()
            give_back()
