"""The leader: one node at a time, which paces the moves of shards that have an owner.

It is never needed for safety, nor for a takeover: shards that nobody owns are taken up by their
heirs without it. Two leaders, or none for a while, only make moves sooner or later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta

import structlog

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
from dataflow.cluster.ownership import Joined
from dataflow.cluster.registration import Leader, Move, value_bytes
from dataflow.core.clock import Clock
from dataflow.core.errors import Unavailable
from dataflow.core.ids import NodeId, ShardId
from dataflow.core.placement import Member, next_moves

log = structlog.get_logger()

IN_MOTION_MIN, IN_MOTION_PART = 8, 64
"""Shards between two owners at once: eight, or one in 64 of a cluster that has many, so that a node
which joins has its share in seconds. Each waits for its neighbours' last checkpoints too."""

SETTLE = timedelta(milliseconds=500)
"""After a node came or went, before shards are moved for it: nodes come and go together."""

LOOK_EVERY = timedelta(seconds=1)


class Rebalancing:
    """Stands for leader, and moves shards while it is one."""

    def __init__(
        self, me: Joined, membership: Membership, coordination: Coordination, clock: Clock
    ) -> None:
        self._me = me
        self._membership = membership
        self._coordination = coordination
        self._clock = clock
        self._keys = membership.map.keys
        self._members: frozenset[tuple[NodeId, str, bool]] = frozenset()
        self._settled_at = 0.0

    @property
    def leads(self) -> bool:
        """Tell whether this node is the leader."""
        leader = self._membership.map.leader
        return leader is not None and leader.boot == self._me.boot

    async def work(self) -> None:
        """Lead whenever nobody else does.

        Raises:
            LeaseLost: the service has let this node go.
        """
        while True:
            seen = self._membership.map
            try:
                if seen.leader is None:
                    await self._stand(seen)
                elif self.leads:
                    await self._lead(seen)
            except LeaseLost:
                raise
            except Unavailable as error:
                log.warning("leading waits", why=str(error))
                await asyncio.sleep(LOOK_EVERY.total_seconds())
            await self._membership.changed(seen.revision, LOOK_EVERY)

    async def _stand(self, seen: ClusterMap) -> None:
        mine = Leader(self._me.node, self._me.boot, self._clock.now())
        put = Put(self._keys.leader, value_bytes(mine), self._me.lease.number)
        done = await self._coordination.transact([Absent(seen.keys.leader)], [put])
        if done.succeeded:
            log.info("leading the cluster")

    async def _lead(self, seen: ClusterMap) -> None:
        members = frozenset((r.node, r.boot, r.draining) for r in seen.nodes.values())
        now = self._clock.steady()
        if members != self._members:
            self._members, self._settled_at = members, now + SETTLE.total_seconds()
        for shard in self._over(seen):
            await self._forget(seen, shard)
        if now >= self._settled_at:
            await self._move(seen)
        else:
            await asyncio.sleep(self._settled_at - now)

    @staticmethod
    def _over(seen: ClusterMap) -> Sequence[ShardId]:
        """Return the shards whose move has ended, or has lost its meaning."""
        return [
            shard
            for shard, move in seen.moves.items()
            if not seen.takes_shards(move.target)
            or ((owner := seen.owners.get(shard)) and owner.node == move.target and owner.fence)
        ]

    async def _forget(self, seen: ClusterMap, shard: ShardId) -> None:
        key = self._keys.move(shard)
        conditions: list[Condition] = [Unchanged(key, seen.entries[key].revision)]
        await self._coordination.transact(conditions, [Delete(key)])

    async def _move(self, seen: ClusterMap) -> None:
        if seen.meta is None:
            return
        current = {shard: owner.node for shard, owner in seen.owners.items()}
        members = {n: Member(weight=r.weight, draining=r.draining) for n, r in seen.nodes.items()}
        pins = {shard: pin.node for shard, pin in seen.pins.items()}
        limit = max(IN_MOTION_MIN, seen.meta.shards // IN_MOTION_PART)
        for move in next_moves(current, seen.target(), seen.moves.keys(), limit):
            if move.source is None or move.source not in seen.nodes:
                continue  # Its heir takes it up by itself.
            cause = move.cause(members, pins)
            asked = Move(move.source, move.target, cause, self._clock.now())
            key, owner_key = self._keys.move(move.shard), self._keys.owner(move.shard)
            conditions: list[Condition] = [
                Absent(key),
                Unchanged(owner_key, seen.entries[owner_key].revision),
            ]
            effects: list[Effect] = [Put(key, value_bytes(asked))]
            done = await self._coordination.transact(conditions, effects)
            if done.succeeded:
                log.info(
                    "moving a shard",
                    shard=move.shard,
                    source=move.source,
                    target=move.target,
                    why=str(cause),
                )
