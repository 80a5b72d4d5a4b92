"""A cluster of the generated code, in memory: six shards of two nodes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import grpc

from dataflow.v1 import cluster_pb2 as pb
from dataflow.v1.cluster_pb2_grpc import ClusterServiceServicer
from tests.integration.client.service import NOW, Answer, Context, Request, Service, refuse

SERVING, MOVING = pb.SHARD_STATE_SERVING, pb.SHARD_STATE_MOVING


@dataclass
class Kept:
    """One node."""

    draining: bool = False
    reason: str = ""


@dataclass
class ClusterService(ClusterServiceServicer):
    """The service; faults and what it was asked stand with its neighbour."""

    beside: Service
    nodes: dict[str, Kept] = field(default_factory=lambda: {"a": Kept(), "b": Kept()})
    owners: list[str] = field(default_factory=lambda: list("aaabbb"))
    pins: dict[int, str] = field(default_factory=dict)
    leader: str = "a"
    looked: Callable[[], None] = lambda: None
    """What happens whenever somebody lists the nodes."""

    def _node(self, name: str) -> pb.Node:
        if name not in self.nodes:
            refuse(grpc.StatusCode.NOT_FOUND, "UNKNOWN_NODE", f"there is no node {name!r}")
        kept = self.nodes[name]
        node = pb.Node(
            node_id=name,
            address=f"{name}:50061",
            weight=1,
            draining=kept.draining,
            reason=kept.reason,
            leader=name == self.leader,
            shards=self.owners.count(name),
        )
        node.joined_at.FromDatetime(NOW)
        return node

    def _shard(self, number: int) -> pb.Shard:
        if not 0 <= number < len(self.owners):
            refuse(grpc.StatusCode.NOT_FOUND, "UNKNOWN_SHARD", f"there is no shard {number}")
        owner = self.owners[number]
        moving = self.nodes[owner].draining
        shard = pb.Shard(
            shard=number,
            state=MOVING if moving else SERVING,
            owner=owner,
            fence=number + 1,
            target="b" if moving else "",
            cause="drained" if moving else "",
            pinned=self.pins.get(number, ""),
            pipelines=number if owner == "a" else -1,
            running=1 if owner == "a" else -1,
        )
        shard.since.FromDatetime(NOW)
        return shard

    def hand_over_one(self) -> None:
        """Let a draining node give one shard away."""
        for number, owner in enumerate(self.owners):
            if self.nodes[owner].draining:
                self.owners[number] = "b"
                return

    async def GetCluster(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.GetClusterResponse:
            return pb.GetClusterResponse(
                name="dataflow",
                shards=len(self.owners),
                nodes=len(self.nodes),
                leader=self.leader,
                revision=17,
                answered_by="a",
                shards_by_state={"unowned": 0, "acquiring": 0, "serving": 6, "moving": 0},
            )

        return await self.beside._serve("GetCluster", request, context, work)

    async def ListNodes(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.ListNodesResponse:
            self.looked()
            return pb.ListNodesResponse(nodes=map(self._node, sorted(self.nodes)))

        return await self.beside._serve("ListNodes", request, context, work)

    async def ListShards(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.ListShardsResponse:
            chosen = [
                shard
                for shard in map(self._shard, range(len(self.owners)))
                if request.owner in {"", shard.owner} and request.state in {0, shard.state}
            ]
            first, size = int(request.page_token or 0), request.page_size or 50
            token = str(first + size) if first + size < len(chosen) else ""
            return pb.ListShardsResponse(
                shards=chosen[first : first + size], total=len(chosen), next_page_token=token
            )

        return await self.beside._serve("ListShards", request, context, work)

    async def DrainNode(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.DrainNodeResponse:
            changed = not self._node(request.node_id).draining
            self.nodes[request.node_id] = Kept(draining=True, reason=request.reason)
            return pb.DrainNodeResponse(node=self._node(request.node_id), changed=changed)

        return await self.beside._serve("DrainNode", request, context, work)

    async def UndrainNode(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.UndrainNodeResponse:
            changed = self._node(request.node_id).draining
            self.nodes[request.node_id] = Kept()
            return pb.UndrainNodeResponse(node=self._node(request.node_id), changed=changed)

        return await self.beside._serve("UndrainNode", request, context, work)

    async def MoveShard(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.MoveShardResponse:
            self._node(request.node_id)
            changed = self._shard(request.shard).pinned != request.node_id
            self.pins[request.shard] = request.node_id
            return pb.MoveShardResponse(shard=self._shard(request.shard), changed=changed)

        return await self.beside._serve("MoveShard", request, context, work)

    async def UnpinShard(self, request: Request, context: Context) -> Answer:  # noqa: N802 - named by proto/
        def work() -> pb.UnpinShardResponse:
            changed = bool(self._shard(request.shard).pinned)
            self.pins.pop(request.shard, None)
            return pb.UnpinShardResponse(shard=self._shard(request.shard), changed=changed)

        return await self.beside._serve("UnpinShard", request, context, work)
