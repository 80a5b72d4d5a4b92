"""Who does a node's work on rows: a worker in its own process, or processes of their own.

Both are asked the same, and a node does not know which it has. Importing this loads no Arrow.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Protocol

from dataflow.core import messages as m
from dataflow.core.ids import PipelineId
from dataflow.core.spec import PipelineSpec
from dataflow.engine.ingest.log import parse_in
from dataflow.engine.ingest.pushed import Parsed, Pushed
from dataflow.engine.lanes import Lanes
from dataflow.engine.looking import Looking
from dataflow.engine.records import (
    Cause,
    DeadLetter,
    Given,
    PreviewStep,
    Replay,
    ReplayLetters,
    Wanted,
)
from dataflow.engine.worker import Surroundings, Worker


class Workers(Protocol):
    """Runs tasks for the owners of pipelines, and looks at rows for whoever asks.

    Errors are those of ``dataflow.core.errors``, rid of secrets. ``Unavailable`` with code
    ``WORKER_LOST``: the process that was asked has died; asking again asks another.
    """

    def receive(self, message: m.ToWorker) -> None:
        """Take a message from an owner; never waits. What it leads to is told by messages."""
        ...

    def serve(self, until: float) -> None:
        """Allow work until a moment of CLOCK_BOOTTIME; without a call there is no end to it.

        Past it every run is dropped, told as ``Failed`` with code ``LEASE_LOST``, and so is each
        that is asked for before the next call.
        """
        ...

    async def parse(self, pushed: Pushed, types: Mapping[str, str], schema: bytes | None) -> Parsed:
        """Return a pushed batch as it is stored; see ``ingest.parse.parse``."""
        ...

    async def preview(
        self, spec: PipelineSpec, records_max: int, given: Given
    ) -> Sequence[PreviewStep]:
        """Return what each step makes of the first records; see ``preview.preview``."""
        ...

    async def clean(self, pipeline: PipelineId, spec: PipelineSpec) -> None:
        """Remove what the sources of a deleted pipeline have made upstream."""
        ...

    async def dead_letters(
        self, pipeline: PipelineId, after: str, limit: int, wanted: Wanted
    ) -> tuple[Sequence[DeadLetter], str]:
        """Return a page of dead letters; see ``DeadLetters.page``."""
        ...

    async def causes(self, pipeline: PipelineId) -> Sequence[Cause]:
        """Return why letters were kept; see ``mending.causes``."""
        ...

    async def purge(self, pipeline: PipelineId, wanted: Wanted) -> int:
        """Let letters be gone for good; see ``mending.purge``."""
        ...

    async def replay(
        self, pipeline: PipelineId, spec: PipelineSpec, asking: ReplayLetters
    ) -> Replay:
        """Ask for letters to be replayed; see ``mending.replay``."""
        ...


class Inline:
    """A worker in the node's own process, as embedded: it has no lease that a row could lose."""

    def __init__(self, lanes: Lanes, around: Surroundings) -> None:
        self._lanes = lanes
        self._looking = Looking(around)

    @classmethod
    @asynccontextmanager
    async def open(cls, around: Surroundings) -> AsyncGenerator[Inline, None]:
        """Return a worker; on leaving, whatever still runs is dropped where it stands."""
        lanes = Lanes(lambda said: worker.receive(said), around.send)  # noqa: PLW0108 - made below
        async with Worker.open(replace(around, send=lanes.hear)) as worker:
            yield cls(lanes, around)

    def receive(self, message: m.ToWorker) -> None:
        """See ``Workers``."""
        self._lanes.receive(message)

    def serve(self, until: float) -> None:
        """See ``Workers``; a process that outlives its own lease is ended by whoever keeps it."""

    async def parse(self, pushed: Pushed, types: Mapping[str, str], schema: bytes | None) -> Parsed:
        """See ``Workers``."""
        return await parse_in(None)(pushed, types, schema)

    async def preview(
        self, spec: PipelineSpec, records_max: int, given: Given
    ) -> Sequence[PreviewStep]:
        """See ``Workers``."""
        return await self._looking.preview(spec, records_max, given)

    async def clean(self, pipeline: PipelineId, spec: PipelineSpec) -> None:
        """See ``Workers``."""
        await self._looking.clean(pipeline, spec)

    async def dead_letters(
        self, pipeline: PipelineId, after: str, limit: int, wanted: Wanted
    ) -> tuple[Sequence[DeadLetter], str]:
        """See ``Workers``."""
        return await self._looking.dead_letters(pipeline, after, limit, wanted)

    async def causes(self, pipeline: PipelineId) -> Sequence[Cause]:
        """See ``Workers``."""
        return await self._looking.causes(pipeline)

    async def purge(self, pipeline: PipelineId, wanted: Wanted) -> int:
        """See ``Workers``."""
        return await self._looking.purge(pipeline, wanted)

    async def replay(
        self, pipeline: PipelineId, spec: PipelineSpec, asking: ReplayLetters
    ) -> Replay:
        """See ``Workers``."""
        return await self._looking.replay(pipeline, spec, asking)
