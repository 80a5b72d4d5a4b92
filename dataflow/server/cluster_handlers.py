"""The rpcs about nodes and shards.

A handler takes the request and what is known of its call, and returns the response or raises an
error of ``dataflow.core.errors``. The names are those of the service in proto/.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from dataflow.core.errors import Rejected
from dataflow.core.ids import NodeId, ShardId
from dataflow.server.call import Call
from dataflow.server.cluster_backend import (
    ClusterBackend,
    Shard,
    ShardState,
    unknown_node,
    unknown_shard,
)
from dataflow.server.parameters import page_number, page_size
from dataflow.v1 import cluster_pb2
from dataflow.wire.core import to_message
from dataflow.wire.words import word

REASON_LENGTH_MAX = 200
"""Characters; a reason travels in the node's entry to every program of the cluster."""

UNKNOWN = -1
"""In place of a number that the answering node cannot know."""


class ClusterHandlers:
    """Every rpc of the ``ClusterService``."""

    def __init__(self, backend: ClusterBackend) -> None:
        self._backend = backend

    async def GetCluster(
        self, _: cluster_pb2.GetClusterRequest, __: Call
    ) -> cluster_pb2.GetClusterResponse:
        """Show the cluster in a few numbers."""
        found = await self._backend.cluster()
        states = Counter(shard.state for shard in found.shards)
        return cluster_pb2.GetClusterResponse(
            name=found.name,
            shards=len(found.shards),
            nodes=len(found.nodes),
            leader=found.leader,
            revision=found.revision,
            answered_by=found.answered_by,
            shards_by_state={str(state): states[state] for state in ShardState},
        )

    async def ListNodes(
        self, _: cluster_pb2.ListNodesRequest, __: Call
    ) -> cluster_pb2.ListNodesResponse:
        """List the nodes that are there."""
        found = await self._backend.cluster()
        nodes = [to_message(node, cluster_pb2.Node) for node in found.nodes]
        return cluster_pb2.ListNodesResponse(nodes=nodes)

    async def ListShards(
        self, request: cluster_pb2.ListShardsRequest, _: Call
    ) -> cluster_pb2.ListShardsResponse:
        """List shards in order of their numbers."""
        size = page_size(request.page_size)
        after = page_number(request.page_token, -1)
        state = word(cluster_pb2.ShardState.DESCRIPTOR, request.state) if request.state else ""
        if state and state not in set(ShardState):
            raise Rejected(f"there is no state {state}", field="state")
        found = await self._backend.cluster()
        if request.owner and request.owner not in {node.node_id for node in found.nodes}:
            raise unknown_node(request.owner)
        chosen = [
            one
            for one in found.shards
            if request.owner in {"", one.owner} and state in {"", one.state}
        ]
        rest = [one for one in chosen if one.shard > after]
        page = rest[:size]
        return cluster_pb2.ListShardsResponse(
            shards=await self._shown(page),
            total=len(chosen),
            next_page_token=str(page[-1].shard) if len(rest) > size else "",
        )

    async def DrainNode(
        self, request: cluster_pb2.DrainNodeRequest, call: Call
    ) -> cluster_pb2.DrainNodeResponse:
        """Let a node hand its shards over."""
        if len(request.reason) > REASON_LENGTH_MAX or not request.reason.isprintable():
            message = f"use at most {REASON_LENGTH_MAX} printable characters"
            raise Rejected(message, field="reason")
        reason = request.reason or f"asked by {call.actor}"
        changed = await self._backend.drain(NodeId(request.node_id), reason)
        node = await self._node(request.node_id)
        return cluster_pb2.DrainNodeResponse(node=node, changed=changed)

    async def UndrainNode(
        self, request: cluster_pb2.UndrainNodeRequest, _: Call
    ) -> cluster_pb2.UndrainNodeResponse:
        """Let a node take shards again."""
        changed = await self._backend.undrain(NodeId(request.node_id))
        node = await self._node(request.node_id)
        return cluster_pb2.UndrainNodeResponse(node=node, changed=changed)

    async def MoveShard(
        self, request: cluster_pb2.MoveShardRequest, call: Call
    ) -> cluster_pb2.MoveShardResponse:
        """Put a shard on a node."""
        if not request.node_id:
            raise Rejected("missing; name the node that shall have the shard", field="nodeId")
        shard = ShardId(request.shard)
        changed = await self._backend.move(shard, NodeId(request.node_id), call.actor)
        return cluster_pb2.MoveShardResponse(shard=await self._shard(shard), changed=changed)

    async def UnpinShard(
        self, request: cluster_pb2.UnpinShardRequest, _: Call
    ) -> cluster_pb2.UnpinShardResponse:
        """Let a shard be placed like any other."""
        shard = ShardId(request.shard)
        changed = await self._backend.unpin(shard)
        return cluster_pb2.UnpinShardResponse(shard=await self._shard(shard), changed=changed)

    async def _node(self, name: str) -> cluster_pb2.Node:
        for node in (await self._backend.cluster()).nodes:
            if node.node_id == name:
                return to_message(node, cluster_pb2.Node)
        raise unknown_node(name)

    async def _shard(self, number: ShardId) -> cluster_pb2.Shard:
        shards = (await self._backend.cluster()).shards
        if not 0 <= number < len(shards):
            raise unknown_shard(number, len(shards))
        return (await self._shown([shards[number]]))[0]

    async def _shown(self, shards: Sequence[Shard]) -> Sequence[cluster_pb2.Shard]:
        loads = await self._backend.loads([one.shard for one in shards])
        shown = [to_message(one, cluster_pb2.Shard) for one in shards]
        for message in shown:
            load = loads.get(ShardId(message.shard))
            message.pipelines = load.pipelines if load is not None else UNKNOWN
            message.running = load.running if load is not None else UNKNOWN
        return shown
