"""What a deleted pipeline leaves behind: its events stay; all that it kept beside them goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import structlog

from dataflow.cluster.host import Host
from dataflow.cluster.shard import Committed
from dataflow.core.errors import DataFlowError, Unavailable
from dataflow.core.events import PipelineDeleted
from dataflow.core.ids import PipelineId, ShardId
from dataflow.core.spec import PipelineSpec
from dataflow.core.state import Status
from dataflow.engine.ingest import IngestLogs
from dataflow.engine.workers import Workers

log = structlog.get_logger()


class Cleaning:
    """Removes the ingest logs of deleted pipelines, now or at the next start.

    And as they are deleted their dead letters and states, and what their sources have made
    upstream: at no later start, for no program keeps asking the servers of pipelines that are long
    gone.
    """

    def __init__(self, ingest: IngestLogs, workers: Workers, tasks: asyncio.TaskGroup) -> None:
        self._ingest = ingest
        self._workers = workers
        self._tasks = tasks
        self._open = True

    @classmethod
    @asynccontextmanager
    async def open(cls, ingest: IngestLogs, workers: Workers) -> AsyncGenerator[Cleaning, None]:
        """Clean up behind pipelines until the block is left."""
        async with asyncio.TaskGroup() as tasks:
            cleaning = cls(ingest, workers, tasks)
            try:
                yield cleaning
            finally:
                cleaning._open = False  # What is deleted from here on is for the next start.

    def take_up(self, host: Host, shard: ShardId | None) -> None:
        """Remove what a crash has left of pipelines deleted before it, of one shard or of all."""
        for resting in host.known(shard):
            if resting.status is Status.DELETED:
                self._tasks.create_task(self._remove(resting.pipeline_id))

    def committed(self, committed: Sequence[Committed]) -> None:
        """React to what has been journalled."""
        for event, state in committed:
            if self._open and isinstance(event.body, PipelineDeleted):
                self._tasks.create_task(self._remove(event.pipeline_id))
                self._tasks.create_task(self._clean(event.pipeline_id, state.spec))

    async def _clean(self, pipeline: PipelineId, spec: PipelineSpec) -> None:
        try:
            await self._workers.clean(pipeline, spec)
        except DataFlowError as error:
            log.warning(
                "what a deleted pipeline kept, or made at its source, stays; remove it by hand",
                pipeline=pipeline,
                why=str(error),
            )

    async def _remove(self, pipeline: PipelineId) -> None:
        try:
            await self._ingest.remove(pipeline)
        except Unavailable as error:
            log.warning(
                "the ingest log of a deleted pipeline stays", pipeline=pipeline, why=str(error)
            )
