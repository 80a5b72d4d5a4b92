"""Those who watch pipelines: told at once what happened, and now and then how it goes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from dataflow.cluster.shard import Committed
from dataflow.core.errors import Unavailable
from dataflow.core.ids import PipelineId

EVENTS_WAITING_MAX = 10_000
"""Of one watcher; one that falls behind further is told to come again (about 20 MB)."""


class Watcher:
    """One subscription: committed events, in order."""

    def __init__(self, pipeline: PipelineId | None) -> None:
        self.pipeline = pipeline
        self._events: asyncio.Queue[Committed] = asyncio.Queue(EVENTS_WAITING_MAX)
        self._overrun = False

    def tell(self, committed: Committed) -> None:
        """Queue an event that it wants to hear of."""
        if self.pipeline in {None, committed.event.pipeline_id}:
            try:
                self._events.put_nowait(committed)
            except asyncio.QueueFull:
                self._overrun = True

    async def next(self, patience_s: float) -> Committed | None:
        """Return the next event; None if nothing happens for a while.

        Raises:
            Unavailable: it fell behind and has missed something.
        """
        if self._overrun:
            raise Unavailable("the watcher fell behind; watch again from the last sequence seen")
        try:
            async with asyncio.timeout(patience_s):
                return await self._events.get()
        except TimeoutError:
            return None


class Watchers:
    """Everybody who watches."""

    def __init__(self) -> None:
        self._watchers: set[Watcher] = set()

    def committed(self, committed: Sequence[Committed]) -> None:
        """Tell everybody."""
        for watcher in self._watchers:
            for one in committed:
                watcher.tell(one)

    @contextmanager
    def watching(self, pipeline: PipelineId | None) -> Iterator[Watcher]:
        """Return a watcher that is told from now on."""
        watcher = Watcher(pipeline)
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
