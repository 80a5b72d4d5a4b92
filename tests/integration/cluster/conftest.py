"""Nodes of one cluster in one process: real links between them, stores in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dataflow.app.clock import SystemClock
from dataflow.app.clustered import Clustered, Coordinating, clustered
from dataflow.app.settings import Settings
from dataflow.app.stores import Stores
from dataflow.cluster.coordination.contract import Put
from dataflow.cluster.coordination.memory import Memory as Coordination
from dataflow.cluster.coordination.memory import MemoryKeeper, Service
from dataflow.cluster.registration import Pin, value_bytes
from dataflow.core.ids import NodeId, PipelineId
from dataflow.engine.ingest import FileLogs
from dataflow.engine.objects import Objects
from dataflow.journal.memory import Memory, Store
from dataflow.views.memory import Memory as Views

SHARDS = 12


@dataclass
class Cluster:
    """What all nodes share, and the nodes by name."""

    folder: Path
    service: Service = field(default_factory=lambda: Service(SystemClock()))
    store: Store = field(default_factory=Store)
    views: Views = field(default_factory=Views)
    nodes: dict[str, Clustered] = field(default_factory=dict)
    _stacks: dict[str, AsyncExitStack] = field(default_factory=dict)

    async def start(self, name: str, **settings: object) -> Clustered:
        """Start a node."""
        given = Settings.model_validate(
            {
                "node_id": name,
                "node_address": "127.0.0.1:0",
                "data_dir": self.folder / name,
                "shards": SHARDS,
                "lease_ttl_s": 2,
                "stop_grace_s": 5,
                **settings,
            }
        )
        stack = self._stacks[name] = AsyncExitStack()
        ingest = FileLogs(given.data_dir / "ingest")
        stack.push_async_callback(ingest.close)
        objects = Objects.local(self.folder / "objects")
        stores = Stores(Memory(self.store), self.views, objects, ingest)
        coordinating = Coordinating(Coordination(self.service), MemoryKeeper(self.service))
        node = await stack.enter_async_context(clustered(given, stores, coordinating))
        self.nodes[name] = node
        return node

    async def stop(self, name: str) -> None:
        """Let a node leave as it does on SIGTERM."""
        del self.nodes[name]
        await self._stacks.pop(name).aclose()

    def pin(self, node: Clustered, pipeline: PipelineId, to: NodeId) -> None:
        """Have a pipeline's shard stay on a node."""
        key = node.membership.map.keys.pin(node.composed.host.shard_of(pipeline))
        self.service.transact([], [Put(key, value_bytes(Pin(to, "me")))])

    async def settled(self, *names: str) -> None:
        """Return once these nodes own all shards, each its share, and all have heard of it."""
        async with asyncio.timeout(20):
            while not all(self._is_settled(node, names) for node in self.nodes.values()):  # noqa: ASYNC110 - the state is what is waited for
                await asyncio.sleep(0.01)

    @staticmethod
    def _is_settled(node: Clustered, names: tuple[str, ...]) -> bool:
        seen = node.membership.map
        owners = [owner.node for owner in seen.owners.values() if owner.is_serving]
        counts = [owners.count(name) for name in names]  # type: ignore[arg-type]  # names of nodes
        return (
            len(owners) == sum(counts) == SHARDS
            and max(counts) - min(counts) <= 2
            and not (seen.moves)
        )


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    """A cluster without a node yet."""
    made = Cluster(tmp_path)
    yield made
    for name in list(made.nodes):
        await made.stop(name)
