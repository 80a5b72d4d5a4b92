"""A fourth node joins three: how long until it has its share, and how many shards that moves."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from bench.cluster import NODES, Bed, cluster, is_settled, owned_by, seen, started, until
from bench.report import Row, median
from bench.server import place
from bench.workloads.workload import Ask, Workload
from dataflow.cluster.cluster_map import ClusterMap
from dataflow.cluster.membership import Membership
from dataflow.core.ids import NodeId, ShardId

JOINING = "node-4"
SHARDS = (64, 1_024)


def run(ask: Ask) -> list[Row]:
    """Let it join, with few and with many shards, in a cluster of its own each time."""
    rows = []
    for shards in SHARDS:
        runs = [_joined(shards) for _ in range(ask.runs)]
        for row in runs:
            ask.tell(f"{row.system}: {row.seconds:.1f} s, {row.detail}")
        rows.append(median(runs))
    return rows


def _joined(shards: int) -> Row:
    with place() as here, cluster(here.folder, shards) as bed:
        return asyncio.run(_measured(bed, shards))


@dataclass
class Watched:
    """What was seen of the owners since three nodes were there."""

    before: ClusterMap
    joined_s: float = 0.0
    moved: set[ShardId] = field(default_factory=set)

    def holds(self, found: ClusterMap) -> bool:
        """Look at a map; tell whether the new node has its share, and the others theirs."""
        if NodeId(JOINING) in found.nodes and not self.joined_s:
            self.joined_s = time.monotonic()
        self.moved |= {
            shard
            for shard, owner in self.before.owners.items()
            if shard not in found.owners or found.owners[shard].node != owner.node
        }
        return is_settled(found, (*NODES, JOINING))


async def _measured(bed: Bed, shards: int) -> Row:
    async with seen(bed) as membership:
        before = await until(membership, lambda found: is_settled(found, NODES), "three nodes")
        watched = Watched(before)
        joining = started(bed.folder, (JOINING,), bed.stores, shards)
        try:
            async with asyncio.TaskGroup() as group:
                looking = group.create_task(_look(membership, watched))
                await asyncio.to_thread(joining.start)
        finally:
            joining.kill()
    after, took_s = looking.result()
    share = len(owned_by(after, JOINING))
    return Row(
        workload="join",
        system=f"dataflow, {shards:,} shards",
        rows=shards,
        seconds=took_s,
        detail=f"{len(watched.moved)} shards moved, of which {share} to the new node",
    )


async def _look(membership: Membership, watched: Watched) -> tuple[ClusterMap, float]:
    found = await until(membership, watched.holds, "a fourth node has its share")
    return found, time.monotonic() - watched.joined_s


WORKLOAD = Workload("join", "a fourth node joins three", 64, run, runs=1)
