"""What one task is sent, and for how long it waits for the next of it."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """Messages for one reader, in order.

    One timer lasts until patience runs out, however many messages come before: to start and stop
    one for each took a twentieth of what a quiet pipeline takes.
    """

    def __init__(self) -> None:
        self._messages: deque[T] = deque()
        self._reader: asyncio.Future[None] | None = None
        self._timer: asyncio.Handle | None = None
        self._strikes_s = 0.0
        self._until_s = 0.0

    def put(self, message: T) -> None:
        """Add a message; never waits."""
        self._messages.append(message)
        self._wake()

    async def get(self, patience_s: float) -> T | None:
        """Return the next message, or None if there has been none for so long."""
        if not self._messages:
            loop = asyncio.get_running_loop()
            self._until_s = loop.time() + patience_s
            if self._timer is None or self._strikes_s > self._until_s:
                self.close()
                self._set(loop)
            self._reader = loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self._messages.popleft() if self._messages else None

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set(self, loop: asyncio.AbstractEventLoop) -> None:
        self._strikes_s = self._until_s
        self._timer = loop.call_at(self._strikes_s, self._strike, loop)

    def _strike(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._reader is None:
            return  # Whoever asks next has it begin again.
        if loop.time() < self._until_s:
            self._set(loop)
        else:
            self._wake()

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
