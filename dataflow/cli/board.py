"""What is shown of many pipelines at once: how each goes, as the server tells whoever watches."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from dataflow.cli import printing
from dataflow.core.state import Status

if TYPE_CHECKING:
    from dataflow.client import DataFlow
    from dataflow.client.messages import WatchPipelinesResponse

FILL_S_MAX = 5.0
"""For one table; then it shows what there is."""


class Board:
    """How every pipeline goes, as the server tells whoever watches."""

    def __init__(self) -> None:
        self._pipelines: dict[str, printing.Document] = {}

    async def fill(self, df: DataFlow) -> None:
        """Return when each pipeline has been told of, or some have not for too long."""
        missing = {pipeline.pipeline_id async for pipeline in df.list()}
        if not missing:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(FILL_S_MAX):
                async for change in df.watch():
                    self._hear(change)
                    missing.discard(change.pipeline_id)
                    if not missing:
                        return

    async def follow(self, df: DataFlow) -> None:
        """Hear of changes, for ever."""
        async for change in df.watch():
            self._hear(change)

    def _hear(self, change: WatchPipelinesResponse) -> None:
        told = printing.document(change)
        told.pop("event", None)
        name = told["pipelineId"]
        self._pipelines[name] = self._pipelines.get(name, {}) | told
        if told.get("status") == Status.DELETED:
            del self._pipelines[name]

    def busiest(self, rows: int) -> Sequence[printing.Document]:
        """See ``busiest``."""
        return busiest(self._pipelines.values(), rows)


def busiest(pipelines: Iterable[printing.Document], rows: int) -> Sequence[printing.Document]:
    """Return what has failed, then what runs by its rate, then the rest, by id."""
    return sorted(pipelines, key=_rank)[:rows]


def _rank(p: printing.Document) -> tuple[bool, bool, float, str]:
    status, rate = p.get("status"), printing.at(p, "metrics.throughputPerSecond") or 0
    return status != Status.FAILED, status != Status.RUNNING, -rate, p["pipelineId"]
