"""What to do about a write of unknown outcome: the identical one again, until it is known."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from dataflow.core.errors import Code, Fenced, Unavailable
from dataflow.core.ids import ShardId

T = TypeVar("T")

log = structlog.get_logger()

RETRY_S, RETRY_S_MAX = 0.01, 1.0
"""Before the second try, and at most, doubling."""


async def until_known(write: Callable[[], Awaitable[T]], what: str, shard: ShardId) -> T:
    """Return what a write that is safe to repeat has come to, however long that takes.

    A later try that surely wrote nothing says nothing of an earlier one, which the store may still
    carry out: once in doubt, only success or a larger fence ends it.

    Raises:
        Fenced: somebody else decides what became of it.
        DataFlowError: nothing was written.
    """
    wait_s, in_doubt = RETRY_S, False
    while True:
        try:
            return await write()
        except Fenced:
            raise
        except Unavailable as error:
            in_doubt = in_doubt or error.code == Code.OUTCOME_UNKNOWN
            if not in_doubt:
                raise
            log.warning("outcome unknown", what=what, shard=shard, why=str(error))
        await asyncio.sleep(wait_s)
        wait_s = min(wait_s * 2, RETRY_S_MAX)
