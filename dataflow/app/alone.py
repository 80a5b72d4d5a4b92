"""The cluster of the program ``dataflow``: one node, which owns every shard for as long as it runs.

Implements ``server.cluster_backend.ClusterBackend``; what takes a second node is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from dataflow.app.loads import loads_of
from dataflow.cluster.host import Host
from dataflow.core.ids import NodeId, ShardId
from dataflow.server.cluster_backend import (
    Cluster,
    Load,
    Node,
    Shard,
    ShardState,
    no_other_node,
    unknown_node,
    unknown_shard,
)


class Alone:
    """One node and its host."""

    def __init__(
        self, name: str, node: NodeId, host: Host, *, shards: int, since: datetime
    ) -> None:
        self._name = name
        self._node = node
        self._host = host
        self._shards = shards
        self._since = since

    async def cluster(self) -> Cluster:
        """See ``ClusterBackend.cluster``: there is one revision, since nothing changes."""
        owned = self._host.owned
        node = Node(
            node_id=self._node,
            address="",
            weight=1,
            draining=False,
            reason="",
            leader=True,
            shards=len(owned),
            joined_at=self._since,
        )
        shards = [self._shard(ShardId(number), owned) for number in range(self._shards)]
        return Cluster(self._name, 1, self._node, self._node, [node], shards)

    def _shard(self, number: ShardId, owned: Mapping[ShardId, int]) -> Shard:
        if number not in owned:
            return Shard(number, ShardState.UNOWNED)
        return Shard(number, ShardState.SERVING, self._node, owned[number], self._since)

    async def loads(self, shards: Sequence[ShardId]) -> Mapping[ShardId, Load]:
        """See ``ClusterBackend.loads``."""
        return loads_of(self._host, shards)

    async def drain(self, node: NodeId, reason: str) -> bool:
        """Refuse: nobody would take the shards."""
        del reason
        self._check_node(node)
        raise no_other_node(node)

    async def undrain(self, node: NodeId) -> bool:
        """Tell that it takes shards as it is."""
        self._check_node(node)
        return False

    async def move(self, shard: ShardId, node: NodeId, actor: str) -> bool:
        """Refuse: the shard is where it can be."""
        del actor
        self._check_shard(shard)
        self._check_node(node)
        raise no_other_node(node)

    async def unpin(self, shard: ShardId) -> bool:
        """Tell that nobody has put it anywhere."""
        self._check_shard(shard)
        return False

    def _check_node(self, node: NodeId) -> None:
        if node != self._node:
            raise unknown_node(node)

    def _check_shard(self, shard: ShardId) -> None:
        if not 0 <= shard < self._shards:
            raise unknown_shard(shard, self._shards)
