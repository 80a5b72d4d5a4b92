"""Watching a cluster from one place, wherever what is watched goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta

from dataflow.app.at_nodes import AtNodes
from dataflow.cluster.links.contract import LinkLost
from dataflow.cluster.membership import Membership
from dataflow.cluster.registration import Registration
from dataflow.core.errors import Fenced, NotOwner
from dataflow.core.ids import PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.server import backend as b

TOLD_MAX = 1_000
"""Changes of all nodes that wait for one watcher."""


class Watches:
    """One watcher's view of the cluster."""

    def __init__(
        self,
        membership: Membership,
        nodes: AtNodes,
        pipeline: Callable[[PipelineId], Awaitable[b.Pipeline]],
        shard_of: Callable[[PipelineId], ShardId],
    ) -> None:
        self._membership = membership
        self._nodes = nodes
        self._pipeline = pipeline
        self._shard_of = shard_of

    async def one(
        self, pipeline: PipelineId, after: SequenceNumber | None
    ) -> AsyncGenerator[b.Change, None]:
        """Watch at the owner; when the shard moves, at the next one from where it had got to."""
        while True:
            shown = await self._pipeline(pipeline)
            if after is None:
                after = shown.state.sequence
            owner = self._membership.map.owner(self._shard_of(pipeline))
            if owner is None:
                continue
            try:
                async with aclosing(self._nodes.watch(owner, pipeline, after)) as changes:
                    async for change in changes:
                        if change.event is not None:
                            after = change.event.sequence
                        yield change
            except (LinkLost, NotOwner, Fenced):
                pass

    async def all(self) -> AsyncGenerator[b.Change, None]:
        """Hear every node, those that come later too; one that goes is no longer heard."""
        told: asyncio.Queue[b.Change] = asyncio.Queue(TOLD_MAX)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._hear_all(told, tasks))
            while True:
                yield await told.get()

    async def _hear_all(self, told: asyncio.Queue[b.Change], tasks: asyncio.TaskGroup) -> None:
        heard: set[str] = set()
        while True:
            seen = self._membership.map
            for node in seen.nodes.values():
                if node.boot not in heard:
                    heard.add(node.boot)
                    tasks.create_task(self._hear(node, told, heard))
            await self._membership.changed(seen.revision, timedelta(seconds=1))

    async def _hear(
        self, node: Registration, told: asyncio.Queue[b.Change], heard: set[str]
    ) -> None:
        try:
            async with aclosing(self._nodes.watch(node, None, None)) as changes:
                async for change in changes:
                    await told.put(change)
        except (LinkLost, NotOwner, Fenced):
            pass  # It is heard again when it has come back.
        finally:
            heard.discard(node.boot)
