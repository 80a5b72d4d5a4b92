"""A shard is moved to another node by plan: for how long its callers get no answer."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise

from bench.cluster import NODES, Bed, Registers, cluster, execute, is_settled, seen, until
from bench.report import Row
from bench.server import place
from bench.workloads.running import Rate, begin
from bench.workloads.workload import Ask, Workload
from dataflow.client import DataFlow, create_command
from dataflow.cluster.cluster_map import ClusterMap
from dataflow.cluster.membership import Membership
from dataflow.core.errors import DataFlowError
from dataflow.core.ids import NodeId, PipelineId, ShardId, shard_of

MOVES = 60
SHARDS = 64

PIPELINES = 60
RATE = Rate(100)
"""So many run meanwhile, about one a shard: each has to close a last checkpoint before it goes."""

AROUND_S = 0.5
"""A shard is watched for so long before and after its move."""

MOVE_S_MAX = 60


def run(ask: Ask) -> list[Row]:
    """Move one shard after another; a client commands one of its pipelines all the time."""
    with place() as here, cluster(here.folder, SHARDS) as bed:
        gaps, moved = asyncio.run(_moved(bed, ask))
    cuts = statistics.quantiles(gaps, n=100, method="inclusive")
    whole = statistics.quantiles(moved, n=100, method="inclusive")
    detail = (
        f"without an answer: p50 {cuts[49] * 1e3:.0f} ms, p95 {cuts[94] * 1e3:.0f} ms,"
        f" p99 {cuts[98] * 1e3:.0f} ms, max {max(gaps) * 1e3:.0f} ms; a whole move: p50"
        f" {whole[49]:.1f} s, p99 {whole[98]:.1f} s"
    )
    return [Row(WORKLOAD.name, "dataflow", rows=len(gaps), seconds=cuts[98], detail=detail)]


async def _moved(bed: Bed, ask: Ask) -> tuple[list[float], list[float]]:
    """Return of each move how long its shard gave no answer, and how long it took in all."""
    gaps, moved = [], []
    registers = Registers(bed)
    try:
        async with seen(bed) as membership, DataFlow(bed.nodes.grpc()) as df:
            await until(membership, lambda found: is_settled(found, NODES), "the cluster starts")
            probes = _probes()
            await execute(bed.nodes.grpc(), [create_command(_probe(p)) for p in probes.values()])
            await begin(bed, registers, PIPELINES, RATE)
            for number in range(ask.rows):
                shard = ShardId(number % SHARDS)
                gap, took = await _move(membership, df, shard, probes[shard])
                gaps.append(gap)
                moved.append(took)
                ask.tell(f"shard {shard}: {gap * 1e3:.0f} ms without an answer, {took:.1f} s")
    finally:
        registers.close()
    return gaps, moved


async def _move(
    membership: Membership, df: DataFlow, shard: ShardId, probe: PipelineId
) -> tuple[float, float]:
    """Move a shard to another node; return the longest time without an answer, and the whole."""
    source = membership.map.owners[shard].node
    others = (NodeId(node) for node in NODES if node != source)
    target = min(others, key=lambda node: len(membership.map.owned_by(node)))
    answered = [time.monotonic()]
    asking = asyncio.create_task(_ask_on(df, probe, answered))
    try:
        await asyncio.sleep(AROUND_S)
        began = time.monotonic()
        await df.move(shard, target)
        await until(membership, lambda found: _is_at(found, shard, target), f"shard {shard} moves")
        took = time.monotonic() - began
        await asyncio.sleep(AROUND_S)
        await df.unpin(shard)  # It stays there; a node takes only so many that have to.
    finally:
        asking.cancel()
        with suppress(asyncio.CancelledError):
            await asking
    answered.append(time.monotonic())
    return max(after - at for at, after in pairwise(answered)), took


async def _ask_on(df: DataFlow, probe: PipelineId, answered: list[float]) -> None:
    """Command a pipeline without end, one command after another, and note every answer."""
    edition = 0
    while True:
        edition += 1
        spec = _probe(probe) | {"description": f"edition {edition}"}
        with suppress(DataFlowError):  # no answer: the next one counts
            await df.update(probe, spec)
            answered.append(time.monotonic())


def _is_at(found: ClusterMap, shard: ShardId, node: NodeId) -> bool:
    owner = found.owners.get(shard)
    return owner is not None and owner.node == node and owner.is_serving


def _probes() -> Mapping[ShardId, PipelineId]:
    """Return a pipeline of each shard."""
    found: dict[ShardId, PipelineId] = {}
    number = 0
    while len(found) < SHARDS:
        probe = PipelineId(f"probe-{number:04}")
        found.setdefault(shard_of(probe, SHARDS), probe)
        number += 1
    return found


def _probe(pipeline: PipelineId) -> dict[str, object]:
    """Return a pipeline that never runs."""
    return {
        "pipelineId": pipeline,
        "name": "Probe",
        "source": {"sourceType": "generator"},
        "sink": {"sinkType": "console"},
    }


WORKLOAD = Workload(
    "planned_move",
    "a shard moved to another node under load, as a client of its pipelines notices",
    MOVES,
    run,
    runs=1,
)
