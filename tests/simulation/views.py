"""The views as a node sees them: written behind, through the network, into one shared store."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from functools import partial

from dataflow.core.errors import Unavailable
from dataflow.core.ids import Offset, PipelineId, ShardId, Version
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.views.contract import Entry, Projected, Query, Summary
from dataflow.views.memory import Memory
from tests.simulation.network import Network, TimedOut
from tests.simulation.processes import Process
from tests.simulation.stores import at_once

PATIENCE_S = 1.0
"""How long a client waits before it writes the same again."""


class SharedViews(Memory):
    """The memory twin, which outlives its writers and knows how far each shard's log shows."""

    def __init__(self, broken: Callable[[str], None]) -> None:
        super().__init__()
        self._broken = broken
        self.applied: dict[ShardId, Offset] = defaultdict(lambda: Offset(0))

    def take(self, batch: Sequence[Projected]) -> None:
        """Apply a batch; there must be none missing before it."""
        for one in batch:
            if one.offset > self.applied[one.shard] + 1:
                self._broken(f"the views miss event {self.applied[one.shard] + 1} of {one.shard}")
            self.applied[one.shard] = max(self.applied[one.shard], one.offset)
        self.apply(batch)


class RemoteViews:
    """``Views`` over the network; what a node has not written when it ends is lost."""

    def __init__(
        self, network: Network, node: Process, server: Process, shared: SharedViews
    ) -> None:
        self._network = network
        self._node = node
        self._server = server
        self._shared = shared
        self._waiting: list[Projected] = []
        self._writing: asyncio.Task[None] | None = None

    def apply(self, batch: Sequence[Projected]) -> None:
        """See ``Views.apply``."""
        self._waiting += batch
        if self._writing is None and self._waiting:
            self._writing = self._node.start(self._write())

    async def _write(self) -> None:
        while self._waiting:
            batch = tuple(self._waiting)
            try:
                await self._network.ask(
                    self._node, self._server, partial(self._shared.take, batch), PATIENCE_S
                )
            except TimedOut:
                continue
            del self._waiting[: len(batch)]
        self._writing = None

    async def settled(self, shard: ShardId | None = None) -> None:
        """See ``Views.settled``."""
        while self._writing is not None:
            await asyncio.wait({self._writing})

    async def applied_offset(self, shard: ShardId) -> Offset:
        """See ``Views.applied_offset``."""
        try:
            return await self._network.ask(
                self._node, self._server, lambda: self._shared.applied[shard], PATIENCE_S
            )
        except TimedOut:
            raise Unavailable("the views do not answer") from None

    async def pipelines(self, query: Query) -> tuple[Sequence[Summary], int]:
        """See ``Views.pipelines``."""
        return at_once(self._shared.pipelines(query))

    async def events(
        self, pipeline: PipelineId, types: Collection[str], after: SequenceNumber, limit: int
    ) -> Sequence[Entry]:
        """See ``Views.events``."""
        return at_once(self._shared.events(pipeline, types, after, limit))

    async def versions(self, pipeline: PipelineId, before: Version, limit: int) -> Sequence[Entry]:
        """See ``Views.versions``."""
        return at_once(self._shared.versions(pipeline, before, limit))

    async def latest(
        self, pipeline: PipelineId, types: Collection[str], until: SequenceNumber | datetime
    ) -> Entry | None:
        """See ``Views.latest``."""
        return at_once(self._shared.latest(pipeline, types, until))

    async def close(self) -> None:
        """See ``Views.close``."""
        await self.settled()
