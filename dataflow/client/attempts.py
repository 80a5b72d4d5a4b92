"""When a request is tried again, and when no more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from dataflow.client.errors import Unreachable
from dataflow.core.errors import DataFlowError, Unavailable
from dataflow.core.retry import backoff
from dataflow.core.spec import PipelineOptions

WAITS = PipelineOptions(
    backoff_initial=timedelta(milliseconds=50), backoff_max=timedelta(seconds=2)
)
"""From what a shard's move takes (500 ms at p99) down to a tenth of it, and never so long that a
server which is back stays unnoticed."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a request is tried, in seconds; ``contact`` while the server was never reached."""

    total: float
    contact: float


class Attempts:
    """The waits of one request between its attempts, which end with its deadline."""

    def __init__(self, patience: Patience, random: Random) -> None:
        self._patience = patience
        self._random = random
        self._began = asyncio.get_running_loop().time()
        self._count = 0
        self._contact = patience.contact

    @property
    def remaining(self) -> float:
        """Seconds until the deadline, never below zero."""
        return max(0.0, self._patience.total - self._passed)

    def reset(self) -> None:
        """Begin anew: there was progress, so the server has been reached."""
        self._contact = self._patience.total
        self._began = asyncio.get_running_loop().time()
        self._count = 0

    def wait(self, error: DataFlowError) -> float | None:
        """Return the seconds to wait before the next attempt; None if there shall be none."""
        if not isinstance(error, Unavailable):
            return None
        self._count += 1
        wait = backoff(WAITS, self._count, self._random.random()).total_seconds()
        if error.retry_after is not None:
            wait = max(wait, error.retry_after.total_seconds())
        if not isinstance(error, Unreachable):
            self._contact = self._patience.total  # it has answered
        limit = min(self._patience.total, self._contact)
        return wait if self._passed + wait < limit else None

    async def pause(self, error: DataFlowError, cause: BaseException | None = None) -> None:
        """Wait for the next attempt.

        Raises:
            DataFlowError: ``error`` itself, where another attempt is no use or comes too late.
        """
        wait = self.wait(error)
        if wait is None:
            raise error from cause
        await asyncio.sleep(wait)

    @property
    def _passed(self) -> float:
        return asyncio.get_running_loop().time() - self._began
