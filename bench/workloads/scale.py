"""What a node, a shard, an idle and an active pipeline each cost, wherever they touch."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from bench.metered import Meter, Used, metrics, rss_mib
from bench.report import Row
from bench.server import place
from bench.workloads.workload import Ask, Workload
from dataflow.client import DataFlow, create_command
from dataflow.client.messages import Command
from deploy.stack import Cassandra, Etcd
from deploy.stack.nodes import Nodes, Stores

IDLE = 10_000
"""Pipelines that a node knows."""

SETTLE_S, WATCH_S = 15.0, 40.0
OWNED_S_MAX = 400.0
SHARDS, MANY_SHARDS = 64, 1_024
KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True, slots=True)
class Load:
    """How much an active pipeline does."""

    pipelines: int
    rows_a_second: int
    checkpoint: str


FIRST = Load(1, 1, "5s")
"""With it a node loads Arrow, which is no cost of a pipeline."""

LOADS = (Load(200, 1, "5s"), Load(40, 100, "1s"))


@dataclass
class Bench:
    """One node over one member of etcd and one node of Cassandra."""

    etcd: Etcd
    cassandra: Cassandra
    nodes: Nodes

    @property
    def meter(self) -> Meter:
        """Return what looks at all of it."""
        pids = {"node": self.nodes.pid(0), "etcd": self.etcd.pid(0)}
        return Meter(pids | {"cassandra": self.cassandra.pid(0)}, "node", self._pages)

    def _pages(self) -> Iterator[str]:
        yield f"http://{self.etcd.addresses[0]}/metrics"
        yield f"http://{self.nodes.http()}/metrics"

    def held_mib(self) -> float:
        """Return the memory of the node."""
        return rss_mib(self.nodes.pid(0))

    def port(self, of: Etcd | Cassandra) -> int:
        """Return the port of a server."""
        return int(of.addresses[0].rpartition(":")[2])


def run(ask: Ask) -> list[Row]:
    """Measure one thing after the other, each as what it adds to the one before."""
    with place() as here, ExitStack() as stack:
        etcd = stack.enter_context(Etcd(here.folder / "etcd", members=1))
        cassandra = stack.enter_context(Cassandra(here.folder / "cassandra"))
        rows = []
        for shards in (MANY_SHARDS, SHARDS):
            stores = Stores(etcd.addresses, cassandra.addresses, f"bench{shards}")
            with Nodes(here.folder / f"nodes{shards}", ("a",), stores, shards=shards) as nodes:
                bench = Bench(etcd, cassandra, nodes)
                rows.append(_told(ask, _node(bench, shards)))
                if shards == SHARDS:
                    rows += _pipelines(ask, bench)
        cassandra.stop(0)
        return [*rows, _told(ask, _stored(here.folder / "cassandra", f"bench{SHARDS}"))]


def _told(ask: Ask, row: Row) -> Row:
    ask.tell(f"{row.system}: {row.detail}")
    return row


def _node(bench: Bench, shards: int) -> Row:
    """Let a node own all shards and do nothing."""
    _until_owned(bench, shards)
    time.sleep(SETTLE_S)
    with bench.meter.used() as told:
        time.sleep(WATCH_S)
    used = told()
    shown = metrics(f"http://{bench.etcd.addresses[0]}/metrics")
    keys, size = (
        shown["etcd_debugging_mvcc_keys_total{}"],
        shown["etcd_mvcc_db_total_size_in_use_in_bytes{}"],
    )
    return Row(
        workload="scale",
        system=f"a node that owns {shards:,} shards and no pipeline",
        rows=shards,
        seconds=used.seconds,
        cpu_s=used.cpu_s["node"],
        peak_rss_mib=bench.held_mib(),
        detail=(f"etcd: {keys:.0f} keys, {size / KIB:.0f} KiB in use; {_flow(bench, used)}"),
    )


def _flow(bench: Bench, used: Used) -> str:
    by = {"etcd": bench.port(bench.etcd), "Cassandra": bench.port(bench.cassandra)}
    bytes_ = ", ".join(
        f"{used.sent.get(port, 0) / used.seconds / KIB:.2f} KiB/s to and from {name}"
        for name, port in by.items()
    )
    cpu = ", ".join(f"{name} {1e3 * used.cpu_s[name.lower()] / used.seconds:.1f}" for name in by)
    node = 1e3 * used.cpu_s["node"] / used.seconds
    return f"{bytes_}; CPU ms/s: node {node:.1f}, {cpu}"


def _pipelines(ask: Ask, bench: Bench) -> list[Row]:
    before = bench.held_mib()
    began = time.perf_counter()
    asyncio.run(_create(bench.nodes.grpc(), "idle", ask.rows, FIRST))
    seconds = time.perf_counter() - began
    time.sleep(SETTLE_S)
    each = (bench.held_mib() - before) * MIB / ask.rows
    with bench.meter.used() as told:
        time.sleep(WATCH_S)
    rows = [
        Row(
            workload="scale",
            system=f"{ask.rows:,} idle pipelines",
            rows=ask.rows,
            seconds=seconds,
            peak_rss_mib=bench.held_mib(),
            detail=f"{each / KIB:.1f} KiB of the node's memory each; {_flow(bench, told())}",
        )
    ]
    _told(ask, rows[-1])
    asyncio.run(_create(bench.nodes.grpc(), "first", 1, FIRST, start=True))
    return [*rows, *(_told(ask, _active(bench, load)) for load in LOADS)]


def _active(bench: Bench, load: Load) -> Row:
    name = f"active{load.rows_a_second}"
    before = bench.held_mib()
    asyncio.run(_create(bench.nodes.grpc(), name, load.pipelines, load, start=True))
    time.sleep(SETTLE_S)
    with bench.meter.used() as told:
        time.sleep(WATCH_S)
    used, held = told(), bench.held_mib()
    asyncio.run(_stop(bench.nodes.grpc(), name, load.pipelines))
    appends = used.a_second('journal_seconds_count{operation="append"')
    decides = used.a_second('journal_seconds_count{operation="decide"')
    carried = used.a_second('journal_records_total{operation="decide"')
    return Row(
        workload="scale",
        system=f"{load.pipelines} at {load.rows_a_second} rows/s, checkpoint {load.checkpoint}",
        rows=load.pipelines,
        seconds=used.seconds,
        cpu_s=used.cpu_s["node"],
        peak_rss_mib=held,
        detail=(
            f"{(held - before) * MIB / load.pipelines / KIB:.0f} KiB of the node's memory each;"
            f" {decides:.1f} writes/s of {carried:.1f} decisions, {appends:.2f} appends/s;"
            f" {_flow(bench, used)}"
        ),
    )


def _until_owned(bench: Bench, shards: int) -> None:
    until = time.perf_counter() + OWNED_S_MAX
    while time.perf_counter() < until:
        shown = metrics(f"http://{bench.nodes.http()}/metrics")
        if shown.get('dataflow_shards{state="serving"}') == shards:
            return
        time.sleep(0.1)
    raise RuntimeError(f"the node does not own {shards} shards in time")


async def _create(server: str, name: str, count: int, load: Load, *, start: bool = False) -> None:
    async with DataFlow(server) as df:
        ids = [f"{name}-{number:05}" for number in range(count)]
        async for answer in df.execute(_creation(one, load) for one in ids):
            if answer.HasField("refusal"):
                raise RuntimeError(answer.refusal.message)
        if start:
            await _each(ids, df.start)


async def _stop(server: str, name: str, count: int) -> None:
    async with DataFlow(server) as df:
        await _each([f"{name}-{number:05}" for number in range(count)], df.stop)


async def _each(ids: Sequence[str], act: Callable[[str], Awaitable[object]]) -> None:
    async def one(pipeline: str) -> None:
        await act(pipeline)

    for first in range(0, len(ids), 50):
        async with asyncio.TaskGroup() as group:
            for pipeline in ids[first : first + 50]:
                group.create_task(one(pipeline))


def _creation(pipeline: str, load: Load) -> Command:
    return create_command(
        {
            "pipelineId": pipeline,
            "name": pipeline,
            "labels": {"team": "a"},
            "source": {
                "sourceType": "generator",
                "options": {"rowsPerSecond": load.rows_a_second},
            },
            "transforms": [
                {
                    "id": "large",
                    "transformType": "filter",
                    "options": {"expression": "amount > 100 AND country = 'DE'"},
                }
            ],
            "sink": {"sinkType": "console"},
            "options": {"checkpointInterval": load.checkpoint},
        }
    )


def _stored(folder: Path, keyspace: str) -> Row:
    """Tell what is on Cassandra's disk, by table, when it has written everything there."""
    bytes_: Counter[str] = Counter()
    for file in folder.rglob(f"{keyspace}/*-*/*.db"):
        bytes_[file.parent.name.rpartition("-")[0]] += file.stat().st_size
    told = ", ".join(f"{table} {size / MIB:.1f} MiB" for table, size in sorted(bytes_.items()))
    return Row(workload="scale", system="on Cassandra's disk", rows=IDLE, seconds=0, detail=told)


WORKLOAD = Workload(
    "scale",
    "what a node, a shard, an idle and an active pipeline cost",
    IDLE,
    run,
    runs=1,
)
