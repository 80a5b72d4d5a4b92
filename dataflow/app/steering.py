"""What people see of a cluster and have it do, from any of its programs.

Implements ``server.cluster_backend.ClusterBackend`` by the cluster's keys: a drain stands in the
node's own entry and goes with its lease; a shard that was put somewhere has a key that stays.
Who carries it out watches these keys.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import structlog

from dataflow.app.at_nodes import AtNodes
from dataflow.cluster.cluster_map import ClusterMap
from dataflow.cluster.coordination.contract import (
    Absent,
    Condition,
    Coordination,
    Delete,
    Effect,
    LeaseLost,
    Put,
    Unchanged,
)
from dataflow.cluster.membership import Membership
from dataflow.cluster.registration import Pin, Registration, value_bytes
from dataflow.core.errors import DataFlowError, Rejected
from dataflow.core.ids import NodeId, ShardId
from dataflow.core.placement import Cause
from dataflow.server.cluster_backend import (
    Cluster,
    Load,
    Node,
    Shard,
    ShardState,
    no_other_node,
    node_drains,
    unknown_node,
    unknown_shard,
)

log = structlog.get_logger()


class Steering:
    """A cluster by its keys, as one of its programs sees it.

    Args:
        cluster: its name.
        membership: what is known of it.
        coordination: where its keys are changed.
        nodes: how its nodes are asked; with what is here, if this program is one of them.
    """

    def __init__(
        self, cluster: str, membership: Membership, coordination: Coordination, nodes: AtNodes
    ) -> None:
        self._name = cluster
        self._node = nodes.here.node if nodes.here is not None else ""
        self._membership = membership
        self._coordination = coordination
        self._nodes = nodes

    async def cluster(self) -> Cluster:
        """See ``ClusterBackend.cluster``."""
        return self.seen()

    def seen(self) -> Cluster:
        """Return the cluster as this program knows it."""
        seen = self._membership.map
        leader = seen.leader.node if seen.leader is not None else ""
        counts = Counter(owner.node for owner in seen.owners.values())
        nodes = [
            _node(one, leads=one.node == leader, shards=counts[one.node])
            for _, one in sorted(seen.nodes.items())
        ]
        return Cluster(self._name, seen.revision, self._node, leader, nodes, _shards(seen))

    async def loads(self, shards: Sequence[ShardId]) -> Mapping[ShardId, Load]:
        """See ``ClusterBackend.loads``: their owners are asked, at once."""
        seen, found = self._membership.map, dict[ShardId, Load]()
        by_owner: dict[NodeId, list[ShardId]] = {}
        for shard in shards:
            if (owner := seen.owner(shard)) is not None:
                by_owner.setdefault(owner.node, []).append(shard)

        async def ask(node: NodeId) -> None:
            try:
                found.update(await self._nodes.loads(seen.nodes[node], by_owner[node]))
            except DataFlowError as error:
                log.info("loads not known", node=node, why=str(error))

        async with asyncio.TaskGroup() as asking:
            for node in by_owner:
                asking.create_task(ask(node))
        return found

    async def drain(self, node: NodeId, reason: str) -> bool:
        """See ``ClusterBackend.drain``."""
        return await self._set_draining(node, reason)

    async def undrain(self, node: NodeId) -> bool:
        """See ``ClusterBackend.undrain``."""
        return await self._set_draining(node, None)

    async def _set_draining(self, node: NodeId, reason: str | None) -> bool:
        while True:
            seen = await self._membership.refresh()
            registered = seen.nodes.get(node)
            if registered is None:
                raise unknown_node(node)
            if registered.draining == (reason is not None):
                return False
            key = seen.keys.node(node)
            conditions = [_as_it_is(seen, key)]
            if reason is not None:
                # Two drains at once must not empty the last two nodes.
                conditions.append(_as_it_is(seen, seen.keys.node(_other(seen, node))))
            wanted = replace(registered, draining=reason is not None, why_draining=reason or "")
            put = Put(key, value_bytes(wanted), seen.entries[key].lease)
            if await self._done(conditions, put):
                return True

    async def move(self, shard: ShardId, node: NodeId, actor: str) -> bool:
        """See ``ClusterBackend.move``."""
        while True:
            seen = await self._membership.refresh()
            _check_shard(seen, shard)
            if node not in seen.nodes:
                raise unknown_node(node)
            if not seen.takes_shards(node):
                raise node_drains(node)
            pin, key = seen.pins.get(shard), seen.keys.pin(shard)
            if pin is not None and pin.node == node:
                return False
            wanted = Pin(node, actor)
            if replace(seen, pins={**seen.pins, shard: wanted}).target()[shard] != node:
                message = f"{node} is full of shards that were put there; unpin one of them first"
                raise Rejected(message, field="nodeId")
            if await self._done([_as_it_is(seen, key)], Put(key, value_bytes(wanted))):
                return True

    async def unpin(self, shard: ShardId) -> bool:
        """See ``ClusterBackend.unpin``."""
        while True:
            seen = await self._membership.refresh()
            _check_shard(seen, shard)
            if shard not in seen.pins:
                return False
            key = seen.keys.pin(shard)
            if await self._done([_as_it_is(seen, key)], Delete(key)):
                return True

    async def _done(self, conditions: Sequence[Condition], effect: Effect) -> bool:
        """Try a change; once it has happened, this program's map shows it."""
        try:
            done = await self._coordination.transact(conditions, [effect])
        except LeaseLost:  # The node has gone since it was looked at: look again.
            return False
        if done.succeeded:
            await self._membership.refresh()
        return done.succeeded


def _as_it_is(seen: ClusterMap, key: str) -> Condition:
    entry = seen.entries.get(key)
    return Absent(key) if entry is None else Unchanged(key, entry.revision)


def _other(seen: ClusterMap, node: NodeId) -> NodeId:
    """Return a node that takes shards, other than one; the same for all who ask."""
    others = [other for other in sorted(seen.nodes) if other != node and seen.takes_shards(other)]
    if not others:
        raise no_other_node(node)
    return others[0]


def _check_shard(seen: ClusterMap, shard: ShardId) -> None:
    shards = seen.meta.shards if seen.meta is not None else 0
    if not 0 <= shard < shards:
        raise unknown_shard(shard, shards)


def _node(one: Registration, *, leads: bool, shards: int) -> Node:
    return Node(
        node_id=one.node,
        address=one.address,
        weight=one.weight,
        draining=one.draining,
        reason=one.why_draining,
        leader=leads,
        shards=shards,
        joined_at=one.joined_at,
    )


def _shards(seen: ClusterMap) -> Sequence[Shard]:
    if seen.meta is None:
        return []
    target = seen.target()
    return [_shard(seen, ShardId(number), target) for number in range(seen.meta.shards)]


def _shard(seen: ClusterMap, number: ShardId, target: Mapping[ShardId, NodeId]) -> Shard:
    owner, move, pin = seen.owners.get(number), seen.moves.get(number), seen.pins.get(number)
    pinned = pin.node if pin is not None else ""
    if owner is None:
        heir = seen.heir(number, target) or ""
        cause = move.cause if move is not None else str(Cause.LOST)
        return Shard(number, ShardState.UNOWNED, target=heir, cause=cause, pinned=pinned)
    shown = Shard(number, ShardState.SERVING, owner.node, owner.fence, owner.since, pinned=pinned)
    if not owner.is_serving:
        return replace(shown, state=ShardState.ACQUIRING)
    if move is not None and move.target != owner.node:
        return replace(shown, state=ShardState.MOVING, target=move.target, cause=move.cause)
    if not seen.takes_shards(owner.node):
        heir = target.get(number, NodeId(""))
        return replace(shown, state=ShardState.MOVING, target=heir, cause=str(Cause.DRAINED))
    return shown
