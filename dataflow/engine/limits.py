"""Nothing waits for ever: the time that one batch may take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta

from dataflow.core.errors import Code, Unavailable


async def in_time(work: Awaitable[None], limit: timedelta, what: str) -> None:
    """Await ``work`` for at most ``limit``.

    Raises:
        Unavailable: with code ``BATCH_TIMED_OUT``; a thread that hangs is left behind.
    """
    patience = asyncio.timeout(limit.total_seconds())
    try:
        async with patience:
            await work
    except TimeoutError as error:
        if not patience.expired():
            raise
        raise Unavailable(
            f"a batch took longer than {limit} in {what}", code=Code.BATCH_TIMED_OUT
        ) from error
