"""How a node gets and keeps its shards while the coordination service comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
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
from dataflow.cluster.registration import Meta, value_bytes
from dataflow.core.errors import Unavailable
from dataflow.core.events import Cause
from dataflow.core.ids import NodeId, ShardId
from dataflow.journal.contract import Fence
from tests.unit.cluster.clusters import KEYS, SHARDS, registration

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
        self.owned: Mapping[ShardId, Fence] = {}

    async def take_up(self, shard: ShardId, cause: Cause) -> Fence:
        self.taken.append(shard)
        self.owned = {**self.owned, shard: Fence(len(self.taken))}
        self._coordination.unreachable = 1
        return self.owned[shard]

    async def hand_over(self, shard: ShardId) -> None:
        self.drop(shard)

    def drop(self, shard: ShardId) -> None:
        self.owned = {n: fence for n, fence in self.owned.items() if n != shard}


def _is_served(seen: ClusterMap) -> bool:
    return all(
        (owner := seen.owners.get(ShardId(number))) is not None and owner.is_serving
        for number in range(SHARDS)
    )


async def test_a_shard_that_is_served_is_announced_and_not_taken_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its announcement was lost and the map is late: a second fence would shut the first one out.

    Were it then not taken up, its key would go, and the first one be served beside its next owner.
    """
    monkeypatch.setattr(ownership, "FAILED_PAUSE_S", 0.01)
    monkeypatch.setattr(ownership, "LOOK_EVERY", timedelta(seconds=0.01))
    clock = SystemClock()
    service = Service(clock)
    lease = Lease(service.grant(TTL), TTL, clock, clock.steady())
    me = registration("a")
    service.transact(
        [],
        [
            c.Put(KEYS.meta, value_bytes(Meta(SHARDS))),
            c.Put(KEYS.node(me.node), value_bytes(me), lease.number),
        ],
    )
    coordination = Deaf(service)
    shards = Taken(coordination)
    async with Membership.open(coordination, "c") as membership, asyncio.TaskGroup() as tasks:
        joined = Joined(NodeId("a"), me.boot, lease)
        owning = Owning(joined, membership, coordination, shards=shards, clock=clock)
        working = tasks.create_task(owning.work())
        async with asyncio.timeout(10):
            while not _is_served(await membership.changed(membership.map.revision)):
                pass
        working.cancel()
    assert sorted(shards.taken) == list(range(SHARDS))
