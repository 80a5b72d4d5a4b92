"""A node is killed: how long until each of its pipelines has decided again, on another node."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from bench.cluster import (
    NODES,
    Bed,
    Registers,
    cluster,
    decided_s,
    is_settled,
    owned_by,
    seen,
    until,
)
from bench.peers import pekko_node
from bench.report import Row
from bench.server import place
from bench.workloads.running import Rate, begin
from bench.workloads.workload import Ask, Workload
from dataflow.cluster.membership import Membership
from dataflow.core.checkpoint import Stamp
from dataflow.core.ids import PipelineId, ShardId, shard_of
from deploy.stack.cassandra import Cassandra
from deploy.stack.ports import free_ports

PIPELINES = 200
MANY = 25
"""Times as many pipelines in the workload of slow ones."""

SHARDS = 64

STEADY_CHECKPOINTS = 5
"""Between two kills, once everything runs."""

PEKKO = "pekko"


@dataclass(frozen=True, slots=True)
class Scenario:
    """What runs, and what is done to it."""

    name: str
    pipelines: int
    rows_per_second: int
    checkpoint: timedelta
    freezes_etcd: bool = False


def run(ask: Ask) -> list[Row]:
    """Kill one node after another, three to a cluster, and start each again."""
    second = timedelta(seconds=1)
    busy = Scenario(f"{ask.rows} pipelines, 100 rows/s", ask.rows, 100, second)
    frozen = replace(busy, name=f"{busy.name}, etcd's leader frozen", freezes_etcd=True)
    many = ask.rows * MANY
    slow = Scenario(f"{many:,} pipelines, 1 row/s", many, 1, 5 * second)
    rows = []
    for scenarios in ((busy, frozen), (slow,)):
        with place() as here, cluster(here.folder, SHARDS) as bed:
            rows += asyncio.run(_measured(bed, scenarios, ask))
    if PEKKO in ask.peers:
        rows.append(_peer(ask))
    return rows


async def _measured(bed: Bed, scenarios: Sequence[Scenario], ask: Ask) -> list[Row]:
    first = scenarios[0]
    rows = []
    registers = Registers(bed)
    try:
        async with seen(bed) as membership:
            await until(membership, lambda found: is_settled(found, NODES), "the cluster starts")
            rate = Rate(first.rows_per_second, first.checkpoint)
            await begin(bed, registers, first.pipelines, rate)
            for scenario in scenarios:
                took: list[float] = []
                for number in range(ask.runs):
                    await asyncio.sleep(STEADY_CHECKPOINTS * scenario.checkpoint.total_seconds())
                    took += await _round(bed, membership, registers, (scenario, number))
                    ask.tell(f"{scenario.name}: {_told(took)}")
                rows.append(_row(f"dataflow, {scenario.name}", took))
    finally:
        registers.close()
    return rows


async def _round(
    bed: Bed, membership: Membership, registers: Registers, what: tuple[Scenario, int]
) -> Sequence[float]:
    """Kill a node; return how long each of its pipelines took; then make everything whole."""
    scenario, number = what
    killed = number % len(NODES)
    shards = owned_by(membership.map, NODES[killed])
    leader = bed.etcd_leader()
    since = time.monotonic()
    bed.nodes.kill(killed)
    if scenario.freezes_etcd:
        bed.etcd.pause(leader)
    try:
        before = _of(await asyncio.to_thread(registers.stamps, shards), shards)
        took = await decided_s(registers, SHARDS, before, since)
    finally:
        if scenario.freezes_etcd:
            bed.etcd.resume(leader)
    await asyncio.to_thread(bed.nodes.start, killed)
    await until(membership, lambda found: is_settled(found, NODES), "the node comes back")
    return list(took.values())


def _of(
    stamps: Mapping[PipelineId, Stamp], shards: Collection[ShardId]
) -> Mapping[PipelineId, Stamp]:
    return {p: stamp for p, stamp in stamps.items() if shard_of(p, SHARDS) in shards}


def _peer(ask: Ask) -> Row:
    took: list[float] = []
    for number in range(ask.runs):
        with (
            place() as here,
            Cassandra(here.folder) as cassandra,
            pekko_node.nodes(cassandra.address, f"{PEKKO}_{number}", free_ports(3)) as nodes,
        ):
            nodes[0].homes()
            took += nodes[0].silence_s(nodes[-1])
            ask.tell(f"{PEKKO}: {_told(took)}")
    return _row(f"{PEKKO}, its entities answer again", took)


def _row(system: str, took: Sequence[float]) -> Row:
    cuts = statistics.quantiles(took, n=100, method="inclusive")
    return Row(WORKLOAD.name, system, rows=len(took), seconds=cuts[94], detail=_told(took))


def _told(took: Sequence[float]) -> str:
    cuts = statistics.quantiles(took, n=100, method="inclusive")
    return f"p50 {cuts[49]:.1f} s, p95 {cuts[94]:.1f} s, max {max(took):.1f} s"


WORKLOAD = Workload(
    "failover",
    "kill -9 of one of three nodes, to the first new decision of each of its pipelines",
    PIPELINES,
    run,
    (PEKKO,),
)
