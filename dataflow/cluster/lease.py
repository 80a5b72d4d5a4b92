"""Until when a node may believe that it is one, and the thread that keeps it so.

The time counts from the SENDING of the last keepalive that was answered, on a clock that keeps
counting while the machine sleeps; it ends a quarter before the service lets the lease go. Past it
the node stops serving; a node whose loop is stuck, and so cannot stop, ends.

None of this is what makes a takeover safe: that are the journal's fences. It makes it quick, and
keeps a node that nobody follows any more from answering.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import timedelta

import structlog

from dataflow.cluster.coordination.contract import Keeper, LeaseId, LeaseLost
from dataflow.core.clock import Clock
from dataflow.core.errors import Unavailable

log = structlog.get_logger()

MARGIN = 1 / 4
"""Of a lease's time: what is left of it when its holder stops believing in it."""

KEEP_EVERY = 1 / 10
"""Of a lease's time: a lease is kept so often that what is left when its holder dies varies by no
more than that."""

RETRY_EVERY = 1 / 50
"""Of a lease's time: between tries while nobody answers; each try asks another member."""

EXIT_LOST = 70
"""EX_SOFTWARE of sysexits.h: the supervisor starts the node again."""


class Lease:
    """What its holder knows of a lease. Thread-safe: a number and a flag that each go one way."""

    def __init__(self, number: LeaseId, ttl: timedelta, clock: Clock, sent_s: float) -> None:
        self.number = number
        self.ttl_s = ttl.total_seconds()
        self._clock = clock
        self._until_s = 0.0
        self._lost = False
        self.kept(sent_s)

    def kept(self, sent_s: float) -> None:
        """Note that a keepalive sent at ``sent_s`` was answered."""
        self._until_s = max(self._until_s, sent_s + self.ttl_s * (1 - MARGIN))

    def lose(self) -> None:
        """Note that the service has let it go, or that the node wants no more of it."""
        self._lost = True

    @property
    def until_s(self) -> float:
        """Return until when, on the steady clock, its holder may act."""
        return 0.0 if self._lost else self._until_s

    @property
    def is_held(self) -> bool:
        """Tell whether its holder may act now. Who was once told no is never told yes again.

        What was given up for that (a run, a shard) would be taken up by nobody else.
        """
        if self._clock.steady() >= self._until_s:
            self._lost = True
        return not self._lost

    @property
    def left_s(self) -> float:
        """Return how long its holder may still act."""
        return max(0.0, self.until_s - self._clock.steady())

    def keep_by(self, keeper: Keeper) -> float:
        """Try once to keep it; return after how many seconds to try again."""
        sent_s = self._clock.steady()
        try:
            keeper.keep_alive(self.number)
        except LeaseLost:
            log.warning("lease lost", lease=self.number)
            self.lose()
        except Unavailable as error:
            log.warning("lease not kept", why=str(error), left_s=round(self.left_s, 2))
            return self.ttl_s * RETRY_EVERY
        else:
            self.kept(sent_s)
        return self.ttl_s * KEEP_EVERY


class LeaseThread:
    """Keeps a lease beside an event loop that may be stuck, until it is lost or stopped."""

    def __init__(
        self,
        lease: Lease,
        keeper: Keeper,
        lost: Callable[[], object],
        end: Callable[[int], None] = os._exit,
    ) -> None:
        self._lease = lease
        self._keeper = keeper
        self._lost = lost
        self._end = end
        self._stopping = threading.Event()
        self._let_go = threading.Event()
        self._thread = threading.Thread(target=self._work, name="lease", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def let_go(self) -> None:
        """Say that nothing is served any more under this lease."""
        self._let_go.set()

    def stop(self) -> None:
        """End the thread; the lease runs out by itself unless it is revoked."""
        self._stopping.set()
        self._let_go.set()
        self._thread.join()

    def _work(self) -> None:
        while not self._stopping.is_set():
            pause_s = self._lease.keep_by(self._keeper)
            if not self._lease.is_held:
                self._doubt()
                return
            self._stopping.wait(min(pause_s, self._lease.left_s))

    def _doubt(self) -> None:
        """Have the node stop serving; end it if it does not, BEFORE the service lets go."""
        self._lost()
        if not self._let_go.wait(self._lease.ttl_s * MARGIN):
            log.error("the node did not stop serving after its lease was lost: ending it")
            self._end(EXIT_LOST)
