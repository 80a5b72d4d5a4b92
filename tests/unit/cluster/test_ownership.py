"""How a node gets and keeps its shards while the coordination service comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from dataflow.app.clock import SystemClock
from dataflow.cluster import ownership
from dataflow.cluster.cluster_map import ClusterMap
from dataflow.cluster.coordination import contract as c
from dataflow.cluster.coordination.memory import Memory, Service
from dataflow.cluster.lease import Lease
from dataflow.cluster.membership import Membership
from dataflow.cluster.ownership import Joined, Owning
from dataflow.cluster.registration import Meta, Ownership, value_bytes
from dataflow.core.errors import Unavailable
from dataflow.core.events import Cause
from dataflow.core.ids import NodeId, ShardId
from dataflow.journal.contract import Fence
from tests.unit.cluster.clusters import KEYS, NOW, SHARDS, registration

TTL = timedelta(seconds=60)


class Deaf(Memory):
    """A client that hears of no change, and at times reaches nobody."""

    unreachable = 0

    async def transact(
        self, conditions: Sequence[c.Condition], effects: Sequence[c.Effect]
    ) -> c.Transacted:
        if self.unreachable:
            self.unreachable -= 1
            raise Unavailable("no member answers")
        return await super().transact(conditions, effects)

    async def list(self, prefix: str) -> c.Listing:
        if self.unreachable:
            self.unreachable -= 1
            raise Unavailable("no member answers")
        return await super().list(prefix)

    async def watch(self, prefix: str, after: c.Revision) -> AsyncIterator[Sequence[c.Change]]:
        await asyncio.get_running_loop().create_future()
        yield ()


class Taken:
    """Shards that remember how often they were taken up; the network fails when one is."""

    def __init__(self, coordination: Deaf) -> None:
        self._coordination = coordination
        self.taken: list[ShardId] = []
        self.dropped: list[ShardId] = []
        self.owned: Mapping[ShardId, Fence] = {}

    async def take_up(self, shard: ShardId, cause: Cause) -> Fence:
        self.taken.append(shard)
        self.owned = {**self.owned, shard: Fence(len(self.taken))}
        self._coordination.unreachable = 1
        return self.owned[shard]

    async def hand_over(self, shard: ShardId) -> None:
        self.drop(shard)

    def drop(self, shard: ShardId) -> None:
        self.dropped.append(shard)
        self.owned = {n: fence for n, fence in self.owned.items() if n != shard}


def _is_served(seen: ClusterMap) -> bool:
    return all(
        (owner := seen.owners.get(ShardId(number))) is not None and owner.is_serving
        for number in range(SHARDS)
    )


@asynccontextmanager
async def owning(
    coordination: Deaf, shards: Taken, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[tuple[Membership, Joined], None]:
    """A node that has joined, and does its duties over and over."""
    monkeypatch.setattr(ownership, "FAILED_PAUSE_S", 0.01)
    monkeypatch.setattr(ownership, "LOOK_EVERY", timedelta(seconds=0.01))
    clock, service = SystemClock(), coordination.service
    lease = Lease(service.grant(TTL), TTL, clock, clock.steady())
    me = registration("a")
    meta = c.Put(KEYS.meta, value_bytes(Meta(SHARDS)))
    service.transact([], [meta, c.Put(KEYS.node(me.node), value_bytes(me), lease.number)])
    joined = Joined(NodeId("a"), me.boot, lease)
    async with Membership.open(coordination, "c") as membership, asyncio.TaskGroup() as tasks:
        owns = Owning(joined, membership, coordination, shards=shards, clock=clock)
        working = tasks.create_task(owns.work())
        async with asyncio.timeout(10):
            yield membership, joined
        working.cancel()


async def test_a_shard_that_is_served_is_announced_and_not_taken_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its announcement was lost and the map is late: a second fence would shut the first one out.

    Were it then not taken up, its key would go, and the first one be served beside its next owner.
    """
    coordination = Deaf(Service(SystemClock()))
    shards = Taken(coordination)
    async with owning(coordination, shards, monkeypatch) as (membership, _):
        while not _is_served(await membership.changed(membership.map.revision)):
            pass
    assert sorted(shards.taken) == list(range(SHARDS))


class Overtaken(Taken):
    """Shards that, while one is taken up, hear of a delete that was under way all the time."""

    late: c.Condition | None = None
    deleted: c.Transacted | None = None

    async def take_up(self, shard: ShardId, cause: Cause) -> Fence:
        service, key = self._coordination.service, KEYS.owner(shard)
        if self.late is not None and self.late.key == key:
            self.deleted = service.transact([self.late], [c.Delete(key)])
        return await super().take_up(shard, cause)


async def test_a_late_delete_does_not_take_away_what_is_taken_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A release of unknown outcome landed while its node had begun to serve the shard again."""
    coordination = Deaf(Service(SystemClock()))
    shards = Overtaken(coordination)
    async with owning(coordination, shards, monkeypatch) as (membership, me):
        key = KEYS.owner(ShardId(0))
        mine = Ownership(me.node, me.boot, NOW)
        put = c.Put(key, value_bytes(mine), me.lease.number)
        done = coordination.service.transact([c.Absent(key)], [put])
        shards.late = c.Unchanged(key, done.revision)
        while not _is_served(await membership.changed(membership.map.revision)):
            pass
    assert shards.deleted is not None
    assert not shards.deleted.succeeded


async def test_a_shard_without_its_key_is_not_served(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has the key answers; two would answer differently."""
    coordination = Deaf(Service(SystemClock()))
    shards = Taken(coordination)
    shards.owned = {ShardId(0): Fence(7)}
    async with owning(coordination, shards, monkeypatch) as (membership, _):
        while not _is_served(await membership.changed(membership.map.revision)):
            pass
    assert shards.dropped == [ShardId(0)]
    assert ShardId(0) in shards.taken
