"""How long a worker process may work: as long as the lease of its node, not longer.

A node that is frozen or cut off cannot tell its processes to stop; so it tells them beforehand
until when they need not ask. Fences make a late writer harmless; this makes it rare.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable
from threading import Thread

from dataflow.core.clock import Clock

DROPPED_GRACE_S = 2.0
"""For what was dropped at the end of a lease to let go; then the process ends, which lets go of
everything. Within the quarter of a lease by which its node stops early."""

OVERDUE = 75
"""Exit status, for whoever reads the log of the system."""


class Allowed:
    """A moment of CLOCK_BOOTTIME, moved by ``serve``; none until it is first moved.

    Args:
        clock: whose steady seconds the moment is of.
        drop: gives up every run; called when the moment has passed, and more than once.
        busy: tells whether a run has not let go yet; called in a thread.
    """

    def __init__(self, clock: Clock, drop: Callable[[], None], busy: Callable[[], bool]) -> None:
        self._clock = clock
        self._drop = drop
        self._busy = busy
        self._until: float | None = None
        self._expiry: asyncio.TimerHandle | None = None

    def serve(self, until: float) -> None:
        """Allow work until then."""
        is_first, self._until = self._until is None, until
        if is_first:
            Thread(target=self._end_overdue, name="overdue", daemon=True).start()
        self._expire()

    @property
    def over(self) -> bool:
        """Tell whether the moment has passed.

        Asked before each message: a process that was frozen itself takes up what it finds, and
        its timers only then.
        """
        return self._until is not None and self._clock.steady() >= self._until

    def _expire(self) -> None:
        """Drop every run if it is time, or look again when it will be."""
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
        if self.over:
            self._drop()
        elif self._until is not None:
            wait = self._until - self._clock.steady()
            self._expiry = asyncio.get_running_loop().call_later(wait, self._expire)

    def _end_overdue(self) -> None:
        """(in a thread) End the process if a run that was dropped does not let go."""
        while True:
            time.sleep(DROPPED_GRACE_S / 10)
            until = self._until
            if until is None or not self._busy():
                continue
            if self._clock.steady() >= until + DROPPED_GRACE_S:
                sys.stderr.write("ended by force: the lease is over, and a run does not let go\n")
                sys.stderr.flush()
                os._exit(OVERDUE)
