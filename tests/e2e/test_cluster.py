"""Three nodes and a gateway as processes, and what ``dataflowctl cluster`` does with them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from deploy.stack import shared
from deploy.stack.nodes import Gateways, Nodes, Stores
from tests.e2e.programs import DATAFLOWCTL, Document, environment, until

NAMES = ("a", "b", "c")
SHARDS = 12

Ctl = Callable[..., Any]
"""Runs ``dataflowctl cluster`` at the gateway and returns what it printed as JSON."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nodes, Gateways]]:
    """Three nodes over the machine's etcd and Cassandra, and a gateway that owns nothing."""
    folder = tmp_path_factory.mktemp("cluster")
    name = f"e2e_{folder.parent.name}_{folder.name}".replace("-", "_")[-40:]
    stores = Stores([shared("etcd")], [shared("cassandra")], name)
    with (
        Nodes(folder, NAMES, stores, shards=SHARDS, lease_ttl_s=5) as nodes,
        Gateways(folder, ("gateway",), stores) as gateways,
    ):
        yield nodes, gateways


@pytest.fixture
def ctl(cluster: tuple[Nodes, Gateways]) -> Ctl:
    """Return what asks the gateway, once every node owns its share."""

    def ask(*arguments: str) -> Any:  # noqa: ANN401 - any document
        command = [DATAFLOWCTL, "--server", cluster[1].grpc(), "-o", "json", "cluster", *arguments]
        done = subprocess.run(
            command, env=environment({}), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    until(lambda: owned(ask) == {"a": 4, "b": 4, "c": 4}, "each node owns its share")
    return ask


def owned(ctl: Ctl) -> dict[str, int]:
    """Return how many shards each node owns and serves, once none is on its way."""
    shards: list[Document] = ctl("shards")
    owners = [shard["owner"] for shard in shards if shard["state"] == "serving"]
    return {name: owners.count(name) for name in NAMES} if len(owners) == SHARDS else {}


def test_a_gateway_tells_who_owns_what(ctl: Ctl) -> None:
    """It owns nothing, and knows everything."""
    status = ctl("status")
    assert (status["nodes"], status["shards"], status["answeredBy"]) == (3, SHARDS, "")
    assert status["leader"] in NAMES
    assert status["shardsByState"]["serving"] == SHARDS
    fences = [shard["fence"] for shard in ctl("shards")]
    assert all(fence > 0 for fence in fences)


def test_a_node_is_drained_until_it_owns_nothing_and_takes_its_share_again(ctl: Ctl) -> None:
    """As an operator does before a machine is switched off."""
    drained = ctl("drain", "b", "--reason", "a new disk", "--wait")
    assert (drained["node"]["shards"], drained["node"]["reason"]) == (0, "a new disk")
    assert owned(ctl)["b"] == 0
    assert ctl("undrain", "b")["changed"]
    until(lambda: owned(ctl) == {"a": 4, "b": 4, "c": 4}, "b has its share again")


def test_a_shard_is_moved_and_stays(ctl: Ctl) -> None:
    """The others make room for it: nobody is over its bound."""
    shard = next(one for one in ctl("shards") if one["owner"] == "a")["shard"]
    assert ctl("move", str(shard), "c")["changed"]
    until(lambda: ctl("shards")[shard]["owner"] == "c" and owned(ctl), "it has moved")
    assert ctl("shards")[shard]["pinned"] == "c"
    assert ctl("unpin", str(shard))["changed"]


def test_a_scrape_tells_a_node_s_part(ctl: Ctl, cluster: tuple[Nodes, Gateways]) -> None:
    """What alerts and dashboards are made of; a node counts what it took from another one."""
    shard = next(one for one in ctl("shards") if one["owner"] == "b")["shard"]
    assert ctl("move", str(shard), "a")["changed"]
    wanted = (
        'dataflow_shards{state="serving"}',
        'dataflow_shard_handoff_seconds_count{cause="',
        'dataflow_journal_seconds_count{operation="acquire"}',
        "dataflow_lease_left_seconds",
    )

    def scraped(where: Nodes | Gateways) -> str:
        return httpx.get(f"http://{where.http(0)}/metrics", trust_env=False).text

    def missing() -> list[str]:
        page = scraped(cluster[0])
        return [text for text in wanted if text not in page]

    until(lambda: not missing(), "everything wanted on a node's page")
    assert ctl("unpin", str(shard))["changed"]
    until(lambda: "dataflow_cluster_nodes 3.0" in scraped(cluster[1]), "three nodes")
    at_gateway = scraped(cluster[1])
    assert "dataflow_lease_left_seconds" not in at_gateway
