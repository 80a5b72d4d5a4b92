"""Nothing waits for ever: the time that one batch may take."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable
from datetime import timedelta
from typing import TypeVar

from dataflow.core.errors import Code, Unavailable

T = TypeVar("T")


class TimeLimit:
    """The time that each batch of one stage may take; the calls of a stage never overlap.

    One timer lasts for a limit's time, however many batches come and go in it: to start and stop
    one a batch took a tenth of what a small batch takes.
    """

    def __init__(self, limit: timedelta) -> None:
        self._limit = limit
        self._ends_s = math.inf
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._worker: asyncio.Task[object] | None = None
        self._struck = False

    async def keep(self, work: Awaitable[T], what: str) -> T:
        """Await ``work`` for at most the limit; returns what it returns.

        Raises:
            Unavailable: with code ``BATCH_TIMED_OUT``; a thread that hangs is left behind.
        """
        loop = self._loop = self._loop or asyncio.get_running_loop()
        self._worker = worker = asyncio.current_task(loop)
        cancelled_before = worker.cancelling() if worker is not None else 0
        self._begin(loop)
        try:
            return await work
        except asyncio.CancelledError as error:
            if worker is None or not self._struck or worker.uncancel() > cancelled_before:
                raise  # Somebody else has cancelled it, too.
            raise Unavailable(
                f"a batch took longer than {self._limit} in {what}", code=Code.BATCH_TIMED_OUT
            ) from error
        finally:
            self._ends_s, self._worker, self._struck = math.inf, None, False

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._ends_s = loop.time() + self._limit.total_seconds()
        if self._timer is None:
            self._timer = loop.call_at(self._ends_s, self._strike, loop)

    def _strike(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._worker is None:
            return
        if loop.time() < self._ends_s:
            self._timer = loop.call_at(self._ends_s, self._strike, loop)
            return
        self._struck = True
        self._worker.cancel()
