"""A cluster whose nodes stand in its keys and do nothing: what is asked of them stays asked.

The keys are in memory; what reads and writes them is what the programs use.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

from dataflow.app.at_nodes import AtNodes, Here
from dataflow.app.steering import Steering
from dataflow.cluster.coordination.contract import Delete, Put
from dataflow.cluster.coordination.memory import Memory, Service
from dataflow.cluster.links.contract import LinkLost
from dataflow.cluster.membership import Membership
from dataflow.cluster.registration import (
    Keys,
    Leader,
    Meta,
    Move,
    Ownership,
    Registration,
    value_bytes,
)
from dataflow.core.clock import Clock
from dataflow.core.ids import NodeId, ShardId
from dataflow.journal.contract import Fence
from dataflow.server.cluster_backend import Load
from tests.integration.server.fake_backend import FakeBackend

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
CLUSTER = "quiet"
SHARDS = 6
FOR_EVER = timedelta(days=1)


class Silent:
    """Implements ``cluster.links.Links``: nobody answers."""

    async def ask(self, address: str, name: str, payload: bytes, patience: timedelta) -> bytes:
        raise LinkLost(f"{address} does not answer")

    async def follow(self, address: str, name: str, payload: bytes) -> AsyncGenerator[bytes, None]:
        raise LinkLost(f"{address} does not answer")
        yield b""


def nobody(clock: Clock) -> Steering:
    """Return what a cluster without a node is steered by, for tests that ask nothing of it."""
    coordination = Memory(Service(clock))
    membership = Membership(coordination, Keys(CLUSTER))
    return Steering(CLUSTER, membership, coordination, AtNodes(Silent(), None))


class QuietCluster:
    """Six shards of the nodes a, b and c; a leads, and shard 5 is still being taken up."""

    def __init__(self, clock: Clock) -> None:
        self.service = Service(clock)
        self.keys = Keys(CLUSTER)
        self.owners = dict(enumerate("aabbcc"))
        self._leases = {node: self.service.grant(FOR_EVER) for node in "abc"}
        self._put(self.keys.meta, Meta(SHARDS))
        self._put(self.keys.leader, Leader(NodeId("a"), "boot-a", NOW))
        for node, lease in self._leases.items():
            name = NodeId(node)
            key, value = self.keys.node(name), Registration(name, f"boot-{node}", f"{node}:1", NOW)
            self.service.transact([], [Put(key, value_bytes(value), lease)])
        for shard, node in self.owners.items():
            self.own(shard, node, fence=0 if shard == 5 else 7)

    @classmethod
    @asynccontextmanager
    async def open(cls, clock: Clock) -> AsyncGenerator[tuple[QuietCluster, Steering], None]:
        """Return the cluster and what it is steered by, as from node a."""
        quiet = cls(clock)
        coordination = Memory(quiet.service)
        async with Membership.open(coordination, CLUSTER) as membership:
            here = Here(NodeId("a"), FakeBackend(), lambda _: {ShardId(0): Load(3, 2)})
            yield quiet, Steering(CLUSTER, membership, coordination, AtNodes(Silent(), here))

    def own(self, shard: int, node: str, fence: int = 8) -> None:
        """Let a node own a shard."""
        owner = Ownership(NodeId(node), f"boot-{node}", NOW, Fence(fence))
        key = self.keys.owner(ShardId(shard))
        self.service.transact([], [Put(key, value_bytes(owner), self._leases[node])])

    def disown(self, shard: int) -> None:
        """Let nobody own a shard."""
        self.service.transact([], [Delete(self.keys.owner(ShardId(shard)))])

    def move(self, shard: int, target: str) -> None:
        """Let a shard be about to move, as the leader does."""
        move = Move(NodeId(self.owners[shard]), NodeId(target), "balanced", NOW)
        self._put(self.keys.move(ShardId(shard)), move)

    def lose(self, node: str) -> None:
        """End a node's lease, and with it all of its keys."""
        self.service.revoke(self._leases[node])

    def _put(self, key: str, value: Meta | Leader | Move) -> None:
        self.service.transact([], [Put(key, value_bytes(value))])
