"""Durable commands a second on one Cassandra node, asked inside the process: ours and actors'."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from bench.asked import Asked
from bench.peers import pekko_node
from bench.report import Row, compared, median
from bench.server import place
from bench.workloads.workload import Ask, Workload
from deploy.stack.cassandra import Cassandra
from deploy.stack.ports import free_ports

COMMANDS = 60_000

IN_FLIGHT = (64, 256)
SHARDS = (16, 64)
"""Of the one node: few make fuller appends, and a small cluster's node has some twenty."""

PEKKO = "pekko"


@dataclass(frozen=True, slots=True)
class System:
    """Something that is measured, in its process."""

    name: str
    process: Asked


def run(ask: Ask) -> list[Row]:
    """Measure every system in turn, and again: a busy minute hits all of them.

    All of them run from the beginning to the end, over the same server; who is not asked rests.
    """
    measured: dict[tuple[str, int], list[Row]] = {}
    with (
        place() as here,
        Cassandra(here.folder) as cassandra,
        _systems(cassandra.address, ask.peers) as systems,
    ):
        for system in systems:
            system.process.rate(max(IN_FLIGHT), ask.rows)  # until it is compiled and warm
        for in_flight in IN_FLIGHT * ask.runs:
            for system in systems:
                row = _measured(system, in_flight, ask.rows)
                measured.setdefault((system.name, in_flight), []).append(row)
                ask.tell(f"{row.system}: {row.rows_per_s:,.0f}/s, {row.detail}")
    return [row for in_flight in IN_FLIGHT for row in _compared(measured, in_flight)]


def _compared(measured: dict[tuple[str, int], list[Row]], in_flight: int) -> Sequence[Row]:
    """Return the rows of so many in flight; the peer's ratio is that to our best."""
    rows = [median(runs) for (_, asked), runs in measured.items() if asked == in_flight]
    ours = [row for row in rows if PEKKO not in row.system]
    peers = [row for row in rows if PEKKO in row.system]
    best = max(ours, key=lambda row: row.rows_per_s or 0.0)
    return [*ours, *compared(best, peers)[1:]]


def _measured(system: System, in_flight: int, commands: int) -> Row:
    cpu_s = system.process.cpu_s()
    rate = system.process.rate(in_flight, commands)
    return Row(
        workload=WORKLOAD.name,
        system=f"{system.name}, {in_flight} in flight",
        rows=commands,
        seconds=rate.seconds,
        rows_per_s=commands / rate.seconds,
        cpu_s=system.process.cpu_s() - cpu_s,
        peak_rss_mib=system.process.peak_rss_mib(),
        detail=f"p50 {rate.p50_ms:.1f} ms, p99 {rate.p99_ms:.1f} ms",
    )


@contextmanager
def _systems(cassandra: str, peers: Sequence[str]) -> Iterator[Sequence[System]]:
    started: list[System] = []
    try:
        for shards in SHARDS:
            command = [sys.executable, "-m", "bench.inside", cassandra, f"bench_{shards}"]
            asked = Asked([*command, f"{shards}"])
            started.append(System(f"dataflow, {shards} shards", asked))
        if PEKKO not in peers:
            yield started
            return
        with pekko_node.nodes(cassandra, PEKKO, free_ports(1)) as (node,):
            node.homes()
            yield [*started, System(PEKKO, node)]
    finally:
        for system in started:
            system.process.stop()


WORKLOAD = Workload(
    "cluster_commands",
    "durable commands on one Cassandra node, asked inside the process",
    COMMANDS,
    run,
    (PEKKO,),
)
