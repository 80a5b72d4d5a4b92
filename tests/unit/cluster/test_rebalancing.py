"""The leader: one at a time, and what it moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from dataflow.app.clock import SystemClock
from dataflow.cluster import rebalancing
from dataflow.cluster.coordination.contract import NO_LEASE, LeaseId, Put
from dataflow.cluster.coordination.memory import Memory, Service
from dataflow.cluster.lease import Lease
from dataflow.cluster.membership import Membership
from dataflow.cluster.ownership import Joined
from dataflow.cluster.rebalancing import Rebalancing
from dataflow.cluster.registration import Meta, Move, Ownership, Registration, value_bytes
from dataflow.core.ids import NodeId, ShardId
from tests.unit.cluster.clusters import KEYS, NOW, ownership, registration

TTL = timedelta(seconds=60)
SHARDS = 2_048
"""So many that more than the least may be in motion."""


class Cluster:
    """Keys of a cluster whose nodes a test plays."""

    def __init__(self, shards: int = SHARDS) -> None:
        self.service = Service(SystemClock())
        self.put(KEYS.meta, value_bytes(Meta(shards)))

    def put(self, key: str, value: bytes, lease: LeaseId = NO_LEASE) -> None:
        """Write a key."""
        self.service.transact([], [Put(key, value, lease)])

    def join(self, *nodes: Registration) -> None:
        """Register nodes."""
        for one in nodes:
            self.put(KEYS.node(one.node), value_bytes(one))

    def own(self, owners: Mapping[int, Ownership]) -> None:
        """Give shards to nodes."""
        for number, one in owners.items():
            self.put(KEYS.owner(ShardId(number)), value_bytes(one))

    @asynccontextmanager
    async def standing(
        self, name: str = "a"
    ) -> AsyncGenerator[tuple[Rebalancing, Membership], None]:
        """Have a node stand for leader."""
        clock = SystemClock()
        lease = Lease(self.service.grant(TTL), TTL, clock, clock.steady())
        coordination = Memory(self.service)
        async with (
            Membership.open(coordination, "c") as membership,
            asyncio.TaskGroup() as tasks,
        ):
            me = Joined(NodeId(name), f"{name}-1", lease)
            leading = Rebalancing(me, membership, coordination, clock)
            working = tasks.create_task(leading.work())
            yield leading, membership
            working.cancel()


async def until_leading(leading: Rebalancing) -> None:
    """Return once a node leads."""
    async with asyncio.timeout(10):
        while not leading.leads:  # noqa: ASYNC110 - the state is what is waited for
            await asyncio.sleep(0.01)


async def moved(membership: Membership, count: int) -> Mapping[ShardId, Move]:
    """Return the moves once there are so many."""
    async with asyncio.timeout(10):
        while len(membership.map.moves) < count:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)
    return membership.map.moves


async def test_of_two_that_stand_one_leads_and_the_other_follows_it() -> None:
    """Two would move twice as many at once as are allowed."""
    cluster = Cluster()
    cluster.join(registration("a"), registration("b"))
    async with cluster.standing("a") as (a, _):
        await until_leading(a)
        async with cluster.standing("b") as (b, seen):
            await seen.changed(seen.map.revision, timedelta(seconds=0.1))
            assert not b.leads
            leader = cluster.service.list(KEYS.leader).entries[0]
            cluster.service.revoke(leader.lease)
            await until_leading(b)


async def test_a_node_that_joins_is_given_shards_a_few_at_a_time() -> None:
    """One in 64 of all; the others serve on meanwhile."""
    cluster = Cluster()
    cluster.join(registration("a"), registration("b"))
    cluster.own({number: ownership("a") for number in range(SHARDS)})
    async with cluster.standing() as (_, membership):
        allowed = SHARDS // rebalancing.IN_MOTION_PART
        moves = await moved(membership, allowed)
        await asyncio.sleep(0.1)
        assert len(moves) == len(membership.map.moves) == allowed
        assert {(move.source, move.target) for move in moves.values()} == {("a", "b")}


async def test_the_next_shard_moves_when_one_has_arrived() -> None:
    """And its move is forgotten, even if its new owner has died before it could."""
    cluster = Cluster(16)
    cluster.join(registration("a"), registration("b"))
    cluster.own({number: ownership("a") for number in range(16)})
    async with cluster.standing() as (_, membership):
        first = set(await moved(membership, rebalancing.IN_MOTION_MIN))
        arrived = min(first)
        cluster.own({arrived: ownership("b", fence=2)})
        async with asyncio.timeout(10):
            while arrived in membership.map.moves:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.01)


async def test_a_move_to_a_node_that_is_gone_is_forgotten() -> None:
    """Its shard stays where it is, and is not in motion any more."""
    cluster = Cluster(16)
    cluster.join(registration("a"))
    cluster.own({number: ownership("a") for number in range(16)})
    lost = Move(NodeId("a"), NodeId("z"), "balanced", NOW)
    cluster.put(KEYS.move(ShardId(3)), value_bytes(lost))
    async with cluster.standing() as (_, membership), asyncio.timeout(10):
        while membership.map.moves:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.01)


async def test_shards_that_nobody_owns_are_left_to_their_heirs() -> None:
    """They need no leader, and a move would name no owner to let go."""
    cluster = Cluster(16)
    cluster.join(registration("a"), registration("b"))
    async with cluster.standing() as (leading, membership):
        await until_leading(leading)
        await asyncio.sleep(0.1 + rebalancing.SETTLE.total_seconds())
        assert membership.map.moves == {}
