"""Nodes and shards over HTTP: who owns what, and what an operator can have done about it."""

from __future__ import annotations

from typing import Any

import grpc
import httpx
import pytest

from dataflow.v1 import cluster_pb2 as pb
from dataflow.v1.cluster_pb2_grpc import ClusterServiceStub
from tests.integration.server.conftest import Server

V1 = "/api/v1/cluster"


async def told(http: httpx.AsyncClient, path: str, **parameters: object) -> dict[str, Any]:
    """Ask a question and return its answer."""
    response = await http.get(f"{V1}{path}", params=parameters)  # type: ignore[arg-type]  # texts and numbers
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


async def test_the_cluster_is_told_in_a_few_numbers(http: httpx.AsyncClient) -> None:
    """The first look of whoever is called at night."""
    answer = await told(http, "")
    assert answer.pop("revision") > 1
    assert answer == {
        "name": "quiet",
        "shards": 6,
        "nodes": 3,
        "leader": "a",
        "answeredBy": "a",
        "shardsByState": {"unowned": 0, "acquiring": 1, "serving": 5, "moving": 0},
    }


async def test_nodes_are_listed_with_what_they_own(http: httpx.AsyncClient) -> None:
    """A node without shards, or with too many, is what one looks for."""
    [first, *rest] = (await told(http, "/nodes"))["nodes"]
    assert first == {
        "nodeId": "a",
        "address": "a:1",
        "weight": 1,
        "draining": False,
        "reason": "",
        "leader": True,
        "shards": 2,
        "joinedAt": "2026-05-01T12:00:00Z",
    }
    assert [node["nodeId"] for node in rest] == ["b", "c"]


async def test_a_shard_tells_its_owner_and_its_fence(http: httpx.AsyncClient) -> None:
    """What the server cannot know, it says that it does not know: a node that does not answer."""
    [first, _, of_b, *_] = (await told(http, "/shards"))["shards"]
    assert first == {
        "shard": 0,
        "state": "serving",
        "owner": "a",
        "fence": 7,
        "since": "2026-05-01T12:00:00Z",
        "target": "",
        "cause": "",
        "pinned": "",
        "pipelines": 3,
        "running": 2,
    }
    assert (of_b["owner"], of_b["pipelines"], of_b["running"]) == ("b", -1, -1)


async def test_shards_are_listed_page_by_page(http: httpx.AsyncClient) -> None:
    """A cluster may have thousands."""
    first = await told(http, "/shards", pageSize=4)
    assert [shard["shard"] for shard in first["shards"]] == [0, 1, 2, 3]
    rest = await told(http, "/shards", pageSize=4, pageToken=first["nextPageToken"])
    assert [shard["shard"] for shard in rest["shards"]] == [4, 5]
    assert (rest["total"], rest["nextPageToken"]) == (6, "")


async def test_shards_are_found_by_owner_and_by_state(http: httpx.AsyncClient) -> None:
    """Which of them do not answer, and where."""
    of_c = await told(http, "/shards", owner="c")
    assert [shard["shard"] for shard in of_c["shards"]] == [4, 5]
    acquiring = await told(http, "/shards", owner="c", state="acquiring")
    assert [shard["shard"] for shard in acquiring["shards"]] == [5]
    assert acquiring["total"] == 1


async def test_a_shard_on_its_way_tells_where_to_and_why(
    http: httpx.AsyncClient, server: Server
) -> None:
    """An operator who sees a shard move asks why first."""
    server.cluster.move(0, "b")
    server.cluster.disown(1)
    server.cluster.lose("c")
    await http.post(f"{V1}/nodes/a/undrain")  # an answer comes after the server has looked again
    shards = (await told(http, "/shards"))["shards"]
    shown = [(one["state"], one["owner"], one["target"], one["cause"]) for one in shards]
    assert shown[0] == ("moving", "a", "b", "balanced")
    assert shown[1][:2] == ("unowned", "")
    assert shown[1][2] in {"a", "b"}
    assert shown[2] == ("serving", "b", "", "")
    assert [one[3] for one in shown[4:]] == ["lost", "lost"]


async def test_a_node_is_drained_and_undrained(http: httpx.AsyncClient) -> None:
    """It says so at once; its shards go one after the other."""
    drained = (await http.post(f"{V1}/nodes/a/drain", json={"reason": "a new disk"})).json()
    assert drained["changed"] is True
    assert (drained["node"]["draining"], drained["node"]["reason"]) == (True, "a new disk")
    [first, *_] = (await told(http, "/shards"))["shards"]
    assert (first["state"], first["cause"]) == ("moving", "drained")
    assert first["target"] in {"b", "c"}
    again = (await http.post(f"{V1}/nodes/a/drain")).json()
    assert again["changed"] is False
    undrained = (await http.post(f"{V1}/nodes/a/undrain")).json()
    assert undrained["changed"] is True
    assert (undrained["node"]["draining"], undrained["node"]["reason"]) == (False, "")
    assert (await http.post(f"{V1}/nodes/a/undrain")).json()["changed"] is False


async def test_without_a_reason_a_drain_names_who_asked(http: httpx.AsyncClient) -> None:
    """Somebody will want to know whether it may be undone."""
    response = await http.post(f"{V1}/nodes/b/drain", headers={"x-dataflow-actor": "ada"})
    assert response.json()["node"]["reason"] == "asked by ada"


async def test_the_last_node_that_takes_shards_is_not_drained(http: httpx.AsyncClient) -> None:
    """Its shards would have nowhere to go, and every request would wait."""
    for node in "ab":
        await http.post(f"{V1}/nodes/{node}/drain")
    refused = await http.post(f"{V1}/nodes/c/drain")
    assert (refused.status_code, refused.json()["error"]) == (400, "NO_OTHER_NODE")
    assert "c must keep its own" in refused.json()["message"]


async def test_a_shard_is_put_somewhere_and_let_go(http: httpx.AsyncClient) -> None:
    """By hand, because a person knows something that the cluster does not."""
    moved = (await http.post(f"{V1}/shards/0/move", json={"nodeId": "b"})).json()
    assert (moved["changed"], moved["shard"]["shard"], moved["shard"]["pinned"]) == (True, 0, "b")
    again = (await http.post(f"{V1}/shards/0/move", json={"shard": 0, "nodeId": "b"})).json()
    assert again["changed"] is False
    let_go = (await http.post(f"{V1}/shards/0/unpin")).json()
    assert (let_go["changed"], let_go["shard"]["pinned"]) == (True, "")
    assert (await http.post(f"{V1}/shards/0/unpin")).json()["changed"] is False


async def test_a_node_takes_no_more_by_hand_than_its_bound(http: httpx.AsyncClient) -> None:
    """A shard that was promised a place must get it."""
    answers = [
        await http.post(f"{V1}/shards/{shard}/move", json={"nodeId": "a"}) for shard in range(4)
    ]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 400]
    assert answers[-1].json()["details"][0]["field"] == "nodeId"
    assert "full of shards that were put there" in answers[-1].json()["message"]


@pytest.mark.parametrize(
    ("path", "body", "refusal"),
    [
        ("/nodes/x/drain", {}, (404, "UNKNOWN_NODE", "nodeId")),
        ("/nodes/x/undrain", {}, (404, "UNKNOWN_NODE", "nodeId")),
        ("/nodes/a/drain", {"reason": "x" * 201}, (400, "INVALID", "reason")),
        ("/nodes/a/drain", {"nodeId": "b"}, (400, "INVALID", "nodeId")),
        ("/shards/6/move", {"nodeId": "a"}, (404, "UNKNOWN_SHARD", "shard")),
        ("/shards/-1/move", {"nodeId": "a"}, (404, "UNKNOWN_SHARD", "shard")),
        ("/shards/first/move", {"nodeId": "a"}, (400, "INVALID", "shard")),
        ("/shards/1/move", {"shard": 2, "nodeId": "a"}, (400, "INVALID", "shard")),
        ("/shards/0/move", {"nodeId": "x"}, (404, "UNKNOWN_NODE", "nodeId")),
        ("/shards/0/move", {"nodeId": "c"}, (400, "NODE_DRAINING", "nodeId")),
        ("/shards/0/move", {}, (400, "INVALID", "nodeId")),
        ("/shards/6/unpin", {}, (404, "UNKNOWN_SHARD", "shard")),
    ],
)
async def test_what_cannot_be_done_is_refused(
    http: httpx.AsyncClient, path: str, body: object, refusal: tuple[int, str, str]
) -> None:
    """With a code for programs, and the field for people."""
    await http.post(f"{V1}/nodes/c/drain")
    refused = await http.post(f"{V1}{path}", json=body)
    answer = refused.json()
    [problem] = answer["details"]
    assert (refused.status_code, answer["error"], problem["field"]) == refusal


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"owner": "x"}, "UNKNOWN_NODE"),
        ({"state": "lost"}, "INVALID"),
        ({"pageSize": 1001}, "INVALID"),
        ({"pageToken": "x"}, "INVALID"),
    ],
)
async def test_a_list_that_cannot_be_made_is_refused(
    http: httpx.AsyncClient, parameters: dict[str, str], code: str
) -> None:
    """An empty list would be taken for an answer."""
    refused = await http.get(f"{V1}/shards", params=parameters)
    assert refused.json()["error"] == code


async def test_the_same_is_served_over_grpc(channel: grpc.aio.Channel) -> None:
    """Two services on one port."""
    stub: Any = ClusterServiceStub(channel)
    answer = await stub.GetCluster(pb.GetClusterRequest())
    assert (answer.name, answer.shards) == ("quiet", 6)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.DrainNode(pb.DrainNodeRequest(node_id="x"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
