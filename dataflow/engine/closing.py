"""What goes to its end once it has begun, whoever loses patience meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


async def to_its_end(work: Awaitable[T]) -> T:
    """Await ``work`` to its end, also where the caller is cancelled: that is raised afterwards."""
    working = asyncio.ensure_future(work)  # noqa: TID251 - owned: it ends before this returns
    cancelled: asyncio.CancelledError | None = None
    while not working.done():
        try:
            await asyncio.wait({working})
        except asyncio.CancelledError as error:
            cancelled = error
    try:
        return working.result()
    finally:
        if cancelled is not None:
            raise cancelled
