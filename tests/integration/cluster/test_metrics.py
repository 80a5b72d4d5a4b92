"""What Prometheus is shown of nodes that come, go and hand shards over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from dataflow.app.clustered import Clustered
from dataflow.core.commands import CreatePipeline
from dataflow.core.errors import NotOwner
from dataflow.core.ids import NodeId
from dataflow.journal.contract import Nonce
from dataflow.journal.memory import Memory
from tests.integration.cluster.test_cluster import IDS, SPEC, commands

if TYPE_CHECKING:
    from tests.integration.cluster.conftest import Cluster


def told(node: Clustered, name: str, **labels: str) -> float:
    """Return a metric's value as a scrape of the node shows it; 0 where it shows none."""
    return _value(node.metrics, name, labels)


def _value(registry: CollectorRegistry, name: str, labels: dict[str, str]) -> float:
    assert name.encode() in generate_latest(registry)
    return registry.get_sample_value(name, labels) or 0


async def test_a_node_shows_its_shards_its_lease_and_who_leads(cluster: Cluster) -> None:
    """What an alert is made of: a shard without an owner, a lease about to end, no leader."""
    a, b = [await cluster.start(name) for name in "ab"]
    await cluster.settled("a", "b")
    assert told(a, "dataflow_shards", state="serving") == 6
    assert told(a, "dataflow_cluster_shards", state="serving") == 12
    assert told(a, "dataflow_cluster_shards", state="unowned") == 0
    assert told(a, "dataflow_cluster_nodes") == 2
    assert told(a, "dataflow_cluster_revision") > 1
    assert 0 < told(a, "dataflow_lease_left_seconds") <= 1.5
    assert told(a, "dataflow_leader") + told(b, "dataflow_leader") == 1


async def test_acquisitions_and_handoffs_are_counted_by_their_cause(cluster: Cluster) -> None:
    """Shards that move all the time, and nodes that fail, look alike without it."""
    a = await cluster.start("a")
    await cluster.settled("a")
    assert told(a, "dataflow_shard_acquisition_seconds_count", cause="failover") == 12
    b = await cluster.start("b")
    await cluster.settled("a", "b")
    assert told(a, "dataflow_shard_handoff_seconds_count", cause="balanced") == 6
    assert told(b, "dataflow_shard_acquisition_seconds_count", cause="move") == 6
    await a.steering.drain(NodeId("b"), "a new disk")
    await cluster.settled("a")
    assert told(b, "dataflow_shard_handoff_seconds_count", cause="drained") == 6
    assert told(a, "dataflow_shards_dropped_total") == 0


async def test_writes_to_the_journal_are_timed_and_counted(cluster: Cluster) -> None:
    """How full the writes are says whether commands are grouped."""
    node = await cluster.start("a")
    await cluster.settled("a")
    assert told(node, "dataflow_journal_seconds_count", operation="acquire") == 12
    await node.routed.execute(commands(CreatePipeline(SPEC)))
    written = told(node, "dataflow_journal_records_total", operation="append")
    assert written == len(IDS)
    assert 0 < told(node, "dataflow_journal_seconds_count", operation="append") <= written


async def test_who_asks_the_wrong_node_is_counted(cluster: Cluster) -> None:
    """A gateway that lags behind shows here first."""
    a, b = [await cluster.start(name) for name in "ab"]
    await cluster.settled("a", "b")
    elsewhere = next(one for one in IDS if b.composed.host.shard_of(one) in b.composed.host.owned)
    [outcome] = await a.composed.node.execute(commands(CreatePipeline(SPEC), [elsewhere]))
    assert isinstance(outcome, NotOwner)
    assert told(a, "dataflow_not_owner_answers_total") == 1


async def test_a_fence_that_is_met_is_counted(cluster: Cluster) -> None:
    """Nobody should ever see it; whoever does should know how often."""
    node = await cluster.start("a")
    await cluster.settled("a")
    await Memory(cluster.store).acquire(node.composed.host.shard_of(IDS[0]), Nonce("intruder"))
    await node.composed.node.execute(commands(CreatePipeline(SPEC), IDS[:1]))
    assert told(node, "dataflow_fences_met_total") == 1


@pytest.mark.parametrize("name", ["dataflow_shards", "dataflow_journal_seconds"])
async def test_every_metric_says_what_it_is(cluster: Cluster, name: str) -> None:
    """Whoever makes a dashboard reads the help texts."""
    node = await cluster.start("a")
    assert f"# HELP {name} " in generate_latest(node.metrics).decode()
