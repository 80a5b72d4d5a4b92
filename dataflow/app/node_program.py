"""The program ``dataflow-node``: one node of a cluster, over etcd and Cassandra."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import click

from dataflow.app.clustered import Clustered, Coordinating, clustered
from dataflow.app.composing import no_probe
from dataflow.app.kafka import logs_of
from dataflow.app.object_store import objects_of
from dataflow.app.program import serve_until_told, started
from dataflow.app.settings import Settings
from dataflow.app.stores import Stores
from dataflow.cluster.coordination.etcd.client import Etcd
from dataflow.cluster.coordination.etcd.keeper import EtcdKeeper
from dataflow.cluster.coordination.etcd.place import Patience, Place
from dataflow.core.errors import Rejected


def etcd_place(settings: Settings) -> Place:
    """Return the members of etcd, in an order of this program's own: watches spread over them."""
    endpoints = list(settings.etcd_endpoints)
    random.Random().shuffle(endpoints)
    return Place(endpoints)


def etcd_patience(settings: Settings) -> Patience:
    """Return how long etcd is waited for: less than a lease lives."""
    return Patience(attempt=timedelta(seconds=min(1.0, settings.lease_ttl_s / 10)))


@asynccontextmanager
async def node(
    settings: Settings, probe: Callable[[str], None] = no_probe
) -> AsyncGenerator[Clustered, None]:
    """Return a node that joins its cluster; on leaving, its shards have been handed over.

    Raises:
        Unavailable: etcd or Cassandra cannot be reached.
        Rejected: a setting does not fit them, or the cluster.
    """
    # Imported here because the driver of the journal is only needed by this program.
    from dataflow.journal.cassandra import WRITES_AT_ONCE, Cassandra, Options
    from dataflow.views.cassandra import Cassandra as CassandraViews

    settings = reachable(named(settings)).model_copy(update={"ingest_log": "kafka"})
    async with AsyncExitStack() as stack:
        place = etcd_place(settings)
        coordination = Etcd(place, etcd_patience(settings))
        stack.push_async_callback(coordination.close)
        keeper = EtcdKeeper(place, timedelta(seconds=settings.lease_ttl_s))
        stack.callback(keeper.close)
        options = Options(settings.cassandra_contact_points, settings.cassandra_keyspace)
        journal = await Cassandra.open(options)
        stack.push_async_callback(journal.close)
        views = await CassandraViews.open(options)
        stack.push_async_callback(views.close)
        ingest = logs_of(settings)
        stack.push_async_callback(ingest.close)
        objects = objects_of(settings)
        await objects.check()
        stores = Stores(journal, views, objects, ingest, WRITES_AT_ONCE)
        yield await stack.enter_async_context(
            clustered(settings, stores, Coordinating(coordination, keeper), probe)
        )


def reachable(settings: Settings) -> Settings:
    """Return settings whose object store outlives this node.

    Raises:
        Rejected: none is named. What a takeover needs must not be on one node's disk.
    """
    if not settings.object_store:
        raise Rejected(
            "missing; name a store that every node reaches: s3://bucket/prefix, or file:///path on"
            " a file system that they share",
            field="object_store (DATAFLOW_OBJECT_STORE)",
        )
    return settings


def named(settings: Settings) -> Settings:
    """Return the settings with a name for this node: the host's, unless it was given one."""
    if settings.node_id:
        return settings
    return settings.model_copy(update={"node_id": socket.gethostname().lower()})


async def run(settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM, then hand over; statuses stay as they are."""
    async with node(settings) as joined:
        await serve_until_told(joined.routed, joined.steering, settings, joined.metrics)


@click.command(name="dataflow-node")
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A TOML file of settings; DATAFLOW_… variables win over it.",
)
def main(config: Path | None) -> None:
    """Run one node of a cluster."""
    started(config, run)
