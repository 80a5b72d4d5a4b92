"""What goes to its end once it has begun, whoever loses patience meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def to_its_end(work: Coroutine[Any, Any, object]) -> None:
    """Await ``work`` to its end, also where the caller is cancelled: that is raised afterwards."""
    working = asyncio.ensure_future(work)  # noqa: TID251 - owned: it ends before this returns
    cancelled: asyncio.CancelledError | None = None
    while not working.done():
        try:
            await asyncio.wait({working})
        except asyncio.CancelledError as error:
            cancelled = error
    try:
        working.result()
    finally:
        if cancelled is not None:
            raise cancelled
