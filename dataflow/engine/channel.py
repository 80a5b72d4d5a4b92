"""A bounded queue of batches between two stages of a task: the back-pressure."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")

BATCHES_MAX = 4
"""Small batches, of pushed records say, may wait in some number, so that no stage idles."""

BYTES_MAX = 4 << 20
"""One of the file source's chunks: it waits alone. A second one was no faster on two cores, and
held 14 MiB more."""


class Channel(Generic[T]):
    """Items in order; ``put`` waits while the other side is behind."""

    def __init__(self, batches_max: int = BATCHES_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._items: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._batches_max = batches_max
        self._bytes_max = bytes_max
        self._changed = asyncio.Event()

    async def put(self, item: T, size: int) -> None:
        """Queue an item of ``size`` bytes once there is room; a single larger one may pass."""
        while not self._has_room():
            await self._changed.wait()
        self._add(item, size)

    def put_now(self, item: T) -> None:
        """Queue an item without waiting for room: a barrier must not stand behind a full queue."""
        self._add(item, 0)

    async def get(self) -> T:
        """Take the next item, waiting for one."""
        while not self._items:
            await self._changed.wait()
        item, size = self._items.popleft()
        self._bytes -= size
        self._wake()
        return item

    def _wake(self) -> None:
        """Let all look again who wait now: a condition of asyncio costs much more."""
        self._changed.set()
        self._changed.clear()

    def _add(self, item: T, size: int) -> None:
        self._items.append((item, size))
        self._bytes += size
        self._wake()

    def _has_room(self) -> bool:
        return not self._items or (
            len(self._items) < self._batches_max and self._bytes < self._bytes_max
        )
