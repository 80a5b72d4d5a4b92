"""What a client can ask about a cluster's nodes and shards, and have done with them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

from dataflow.client.connection import Connection
from dataflow.client.messages import (
    DrainNodeResponse,
    GetClusterResponse,
    MoveShardResponse,
    Node,
    Shard,
    UndrainNodeResponse,
    UnpinShardResponse,
)
from dataflow.client.questions import PAGE_SIZE
from dataflow.v1.cluster_pb2 import (
    DrainNodeRequest,
    GetClusterRequest,
    ListNodesRequest,
    ListShardsRequest,
    MoveShardRequest,
    UndrainNodeRequest,
    UnpinShardRequest,
)


class ClusterCalls:
    """They raise what ``Commands`` and ``Questions`` raise.

    Asking for what holds already is no error, so all of them are asked again after a broken
    connection; ``changed`` tells of the last attempt alone.
    """

    _connection: Connection

    async def cluster(self, *, timeout: timedelta | None = None) -> GetClusterResponse:
        """Return the cluster in a few numbers, as the node that answers sees it."""
        method = self._connection.cluster.GetCluster
        return await self._connection.call(method, GetClusterRequest(), timeout)

    async def nodes(self, *, timeout: timedelta | None = None) -> Sequence[Node]:
        """Return the nodes that are there, in order of their ids."""
        method = self._connection.cluster.ListNodes
        return (await self._connection.call(method, ListNodesRequest(), timeout)).nodes

    async def shards(
        self, *, owner: str = "", state: str = "", page_size: int = PAGE_SIZE
    ) -> AsyncIterator[Shard]:
        """Yield the shards in order of their numbers.

        Args:
            owner: only those of this node.
            state: only ``unowned``, ``acquiring``, ``serving`` or ``moving`` ones.
            page_size: shards a request, 1 to 1,000.
        """
        chosen = f"SHARD_STATE_{state.upper()}" if state else None
        asked = ListShardsRequest(owner=owner, state=chosen, page_size=page_size)
        while True:
            page = await self._connection.call(self._connection.cluster.ListShards, asked)
            for shard in page.shards:
                yield shard
            if not page.next_page_token:
                return
            asked.page_token = page.next_page_token

    async def drain(
        self, node_id: str, *, reason: str = "", timeout: timedelta | None = None
    ) -> DrainNodeResponse:
        """Let a node hand its shards to the others and take none; ``nodes`` tells what is left.

        Raises:
            Rejected: there is no such node, or no other one that takes shards.
        """
        asked = DrainNodeRequest(node_id=node_id, reason=reason)
        return await self._connection.call(self._connection.cluster.DrainNode, asked, timeout)

    async def undrain(
        self, node_id: str, *, timeout: timedelta | None = None
    ) -> UndrainNodeResponse:
        """Let a node take shards again."""
        asked = UndrainNodeRequest(node_id=node_id)
        return await self._connection.call(self._connection.cluster.UndrainNode, asked, timeout)

    async def move(
        self, shard: int, node_id: str, *, timeout: timedelta | None = None
    ) -> MoveShardResponse:
        """Have a shard moved to a node, where it stays while that node takes shards.

        Raises:
            Rejected: there is no such shard or node, or the node takes none.
        """
        asked = MoveShardRequest(shard=shard, node_id=node_id)
        return await self._connection.call(self._connection.cluster.MoveShard, asked, timeout)

    async def unpin(self, shard: int, *, timeout: timedelta | None = None) -> UnpinShardResponse:
        """Let a shard that was moved by hand be placed like any other again."""
        asked = UnpinShardRequest(shard=shard)
        return await self._connection.call(self._connection.cluster.UnpinShard, asked, timeout)
