"""Read a watch for as long as a test cares, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from dataflow.cluster.coordination.contract import Change

PATIENCE_S = 60.0
"""A change that has not come by then never will."""


async def next_of(watch: AsyncIterator[Sequence[Change]]) -> Sequence[Change]:
    """Return what a watch yields next."""
    async with asyncio.timeout(PATIENCE_S):
        return await anext(watch)


async def first_of(watch: AsyncIterator[Sequence[Change]], count: int) -> list[Change]:
    """Return changes until there are enough of them."""
    found: list[Change] = []
    while len(found) < count:
        found += await next_of(watch)
    return found
