"""Nodes and shards by the SDK."""

from __future__ import annotations

import pytest

from dataflow.client import DataFlow, Rejected
from dataflow.client.blocking import DataFlow as Blocking
from tests.integration.client.conftest import Served
from tests.integration.client.service import Fault


async def test_the_cluster_its_nodes_and_its_shards_are_told(df: DataFlow) -> None:
    """What an operator's program reads."""
    assert (await df.cluster()).shards_by_state["serving"] == 6
    assert [(node.node_id, node.shards) for node in await df.nodes()] == [("a", 3), ("b", 3)]


async def test_shards_have_every_page_and_can_be_narrowed(served: Served, df: DataFlow) -> None:
    """They page as the other lists do."""
    assert [one.shard async for one in df.shards(page_size=4)] == [0, 1, 2, 3, 4, 5]
    assert served.service.works["ListShards"] == 2
    assert [one.shard async for one in df.shards(owner="b")] == [3, 4, 5]
    await df.drain("a")
    assert [one.shard async for one in df.shards(state="moving")] == [0, 1, 2]


async def test_a_node_is_drained_and_undrained(served: Served, df: DataFlow) -> None:
    """Also where the first attempt's answer was lost: it is asked again."""
    served.service.faults["DrainNode"].append(Fault(after_work=True))
    drained = await df.drain("a", reason="a new disk")
    assert (drained.node.draining, drained.node.reason) == (True, "a new disk")
    undrained = await df.undrain("a")
    assert (undrained.changed, undrained.node.draining) == (True, False)


async def test_a_shard_is_moved_and_let_go(df: DataFlow) -> None:
    """The number of the shard may be 0, as any other."""
    moved = await df.move(0, "b")
    assert (moved.changed, moved.shard.pinned) == (True, "b")
    let_go = await df.unpin(0)
    assert (let_go.changed, let_go.shard.pinned) == (True, "")


async def test_what_is_not_there_is_refused(df: DataFlow) -> None:
    """With the server's code."""
    with pytest.raises(Rejected) as caught:
        await df.move(6, "a")
    assert caught.value.code == "UNKNOWN_SHARD"
    with pytest.raises(Rejected) as caught:
        await df.drain("x")
    assert caught.value.code == "UNKNOWN_NODE"


async def test_a_client_that_is_not_open_says_so(served: Served) -> None:
    """As for pipelines."""
    with pytest.raises(RuntimeError, match="not open"):
        await DataFlow(served.address).cluster()


def test_the_twin_without_asyncio_does_the_same(apart: Served) -> None:
    """Plain calls, plain iterators."""
    with Blocking(apart.address) as df:
        assert df.cluster().name == "dataflow"
        assert [one.shard for one in df.shards(owner="a")] == [0, 1, 2]
        assert df.move(1, "b").changed
        assert df.unpin(1).changed
        assert df.drain("b").changed
        assert df.undrain("b").changed
        assert [node.node_id for node in df.nodes()] == ["a", "b"]
