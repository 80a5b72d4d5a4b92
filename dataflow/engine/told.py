"""What the owner of a run is told of how it goes: nothing is decided by it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from dataflow.core import messages as m
from dataflow.core.ids import PipelineId, Run
from dataflow.engine.inlets import Inlets, Readers

PROGRESS_EVERY_S, PROGRESS_EVERY_S_MAX = 0.25, 2.0
"""How often a task looks for news to tell: while records come, and while there are few or none.
Watchers see rates at this pace. Five thousand that told the same four times a second took a
processor."""

FEW_RECORDS = 2
"""Between two looks."""


class Told:
    """Says what is going on, and nothing twice."""

    def __init__(self, pipeline: PipelineId, run: Run, send: Callable[[m.ToOwner], None]) -> None:
        self._pipeline = pipeline
        self._run = run
        self._send = send
        self._lag = (-1, -1)
        self._moves = 0
        self._last: m.Progress | None = None

    async def keep_telling(
        self, readers: Readers, inlets: Inlets, draining: Callable[[], bool]
    ) -> None:
        """Tell of what is read, and of what waits unread, for ever."""
        read = 0
        while True:
            phase = m.Phase.WAITING if readers.waiting else m.Phase.PROCESSING
            phase = m.Phase.DRAINING if draining() else phase
            self._lag = await inlets.lag()
            before, read = read, readers.records
            self.tell(phase, readers.waiting, readers)
            are_few = read <= before + FEW_RECORDS
            await asyncio.sleep(PROGRESS_EVERY_S_MAX if are_few else PROGRESS_EVERY_S)

    def moved(self, readers: Readers) -> None:
        """Say that there is something to decide, though no record was read: time has passed."""
        self._moves += 1
        self.tell(m.Phase.PROCESSING, "", readers)

    def waiting(self, detail: str) -> None:
        """Say what is waited for."""
        self.tell(m.Phase.WAITING, detail)

    def tell(self, phase: m.Phase, detail: str, readers: Readers | None = None) -> bool:
        """Say what is going on, unless that has been said; returns whether it was news."""
        read, moves = (readers.records, readers.moves) if readers is not None else (0, 0)
        moves += self._moves
        news = m.Progress(self._pipeline, self._run, phase, detail, read, *self._lag, moves)
        if news == self._last:
            return False
        self._last = news
        self._send(news)
        return True
