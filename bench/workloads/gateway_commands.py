"""Durable commands a second as a cluster's client gets them: through a gateway, and by a node."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from bench.report import Row, median
from bench.server import place
from bench.workloads.commands import PIPELINES, measured, updates_of
from bench.workloads.starting import create
from bench.workloads.workload import Ask, Workload
from deploy.stack import Cassandra, Etcd
from deploy.stack.nodes import Gateways, Nodes, Stores

COMMANDS = 50_000

UNARY_SHARE = 5
"""Unary commands are slower, so there are fewer: one for so many in bulk."""

SHARDS = 64


@dataclass(frozen=True, slots=True)
class Way:
    """One way to send commands to one program."""

    program: str
    address: str
    callers: int
    """0: in bulk."""

    @property
    def name(self) -> str:
        """Return it, for a reader."""
        how = f"unary, {self.callers} in flight" if self.callers else "Execute"
        return f"dataflow, {self.program}, {how}"


def run(ask: Ask) -> list[Row]:
    """Update 1,000 pipelines of one node, through a gateway of its own process and directly."""
    with (
        place() as here,
        Etcd(here.folder / "etcd", members=1) as etcd,
        Cassandra(here.folder / "cassandra") as cassandra,
    ):
        stores = Stores(etcd.addresses, cassandra.addresses)
        with (
            Nodes(here.folder, ("node",), stores, shards=SHARDS) as nodes,
            Gateways(here.folder, ("gateway",), stores) as gateways,
        ):
            asyncio.run(create(nodes.grpc(), PIPELINES))
            ways = [
                Way(program, address, callers)
                for callers in (0, 64, 256)
                for program, address in (
                    ("through a gateway", gateways.grpc()),
                    ("by the node", nodes.grpc()),
                )
            ]
            return [_median(ask, way) for way in ways]


def _median(ask: Ask, way: Way) -> Row:
    count = max(ask.rows // UNARY_SHARE, 1) if way.callers else ask.rows
    runs = []
    for number in range(ask.runs):
        runs.append(asyncio.run(_measured(way, count, f"{way.callers}-{way.address}-{number}")))
        ask.tell(f"{way.name}: {runs[-1].rows_per_s:,.0f}/s, {runs[-1].detail}")
    return median(runs)


async def _measured(way: Way, count: int, run: str) -> Row:
    updates = list(updates_of(count, new_expressions=False))
    for update in updates:  # another run's commands would be answered from memory
        update.update.command_id += f"-{run}"
    row = await measured(way.address, updates, way.callers)
    return replace(row, workload=WORKLOAD.name, system=way.name)


WORKLOAD = Workload(
    "gateway_commands",
    "durable commands over gRPC on one Cassandra node: through a gateway, and by the node itself",
    COMMANDS,
    run,
)
