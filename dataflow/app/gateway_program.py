"""The program ``dataflow-gateway``: serves the API of a cluster, and owns nothing of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from dataflow.app.at_nodes import AtNodes
from dataflow.app.builtin import registry
from dataflow.app.checking import checked
from dataflow.app.cluster_metrics import ClusterCollector
from dataflow.app.clustered import routing
from dataflow.app.metrics import process_registry
from dataflow.app.node_program import etcd_patience, etcd_place
from dataflow.app.program import serve_until_told, started
from dataflow.app.settings import Settings
from dataflow.app.steering import Steering
from dataflow.cluster.coordination.etcd.client import Etcd
from dataflow.cluster.links.asking import GrpcLinks
from dataflow.cluster.membership import Membership


async def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM."""
    steps = registry()

    coordination = Etcd(etcd_place(settings), etcd_patience(settings))
    try:
        async with (
            Membership.open(coordination, settings.cluster) as membership,
            GrpcLinks.open() as links,
            routing(
                membership,
                nodes := AtNodes(links, None),
                partial(checked, steps, takes_push=bool(settings.kafka_brokers)),
                lambda: bool(membership.map.nodes),
            ) as routed,
        ):
            steering = Steering(settings.cluster, membership, coordination, nodes)
            metrics = process_registry()
            metrics.register(ClusterCollector(steering.seen, None))
            await serve_until_told(routed, steering, settings, metrics)
    finally:
        await coordination.close()


@click.command(name="dataflow-gateway")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A TOML file of settings; DATAFLOW_… variables win over it.",
)
def main(config: Path | None) -> None:
    """Serve the API of a cluster from a program that owns no shard."""
    started(config, run)
