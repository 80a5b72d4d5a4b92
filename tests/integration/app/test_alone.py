"""The embedded program is a cluster of one, and says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dataflow.app.alone import Alone
from dataflow.app.settings import Settings
from dataflow.app.standalone import NODE, whole
from dataflow.core.commands import Command, CreatePipeline
from dataflow.core.errors import Code, Rejected
from dataflow.core.ids import SHARDS, CommandId, NodeId, PipelineId, ShardId, shard_of
from dataflow.core.spec import PipelineSpec, Sink, Source, canonical
from dataflow.server.cluster_backend import Load, ShardState

NOW = datetime(2026, 5, 1, tzinfo=UTC)
SPEC = canonical(PipelineSpec(source=Source("generator"), sink=Sink("console")))
PIPELINE = PipelineId("p")


@pytest.fixture
async def alone(tmp_path: Path) -> AsyncIterator[Alone]:
    """The cluster of an embedded node with one pipeline."""
    async with whole(Settings(data_dir=tmp_path)) as parts:
        create = Command(PIPELINE, CommandId("c"), "me", CreatePipeline(SPEC), b"")
        await parts.node.execute([create])
        yield Alone("dataflow", NODE, parts.host, shards=SHARDS, since=NOW)


async def test_one_node_owns_every_shard(alone: Alone) -> None:
    """The same questions have answers, whichever program is asked."""
    seen = await alone.cluster()
    [node] = seen.nodes
    assert (node.node_id, node.shards, node.leader) == ("embedded", SHARDS, True)
    assert {one.owner for one in seen.shards} == {"embedded"}
    assert {one.state for one in seen.shards} == {ShardState.SERVING}
    assert all(one.fence > 0 for one in seen.shards)


async def test_what_each_shard_holds_is_known(alone: Alone) -> None:
    """One node knows all."""
    mine = shard_of(PIPELINE)
    other = ShardId((mine + 1) % SHARDS)
    assert await alone.loads([mine, other]) == {mine: Load(1, 0), other: Load(0, 0)}


async def test_what_takes_a_second_node_is_refused(alone: Alone) -> None:
    """A drain that was accepted would be waited for without end."""
    with pytest.raises(Rejected, match="there is no other node") as drained:
        await alone.drain(NODE, "why not")
    with pytest.raises(Rejected, match="there is no other node") as moved:
        await alone.move(ShardId(0), NODE, "me")
    assert {drained.value.code, moved.value.code} == {Code.NO_OTHER_NODE}


async def test_what_holds_already_changes_nothing(alone: Alone) -> None:
    """It takes shards, and nobody has put one anywhere."""
    assert await alone.undrain(NODE) is False
    assert await alone.unpin(ShardId(0)) is False


async def test_what_is_not_there_is_refused(alone: Alone) -> None:
    """With the same codes as in a cluster."""
    with pytest.raises(Rejected) as caught:
        await alone.drain(NodeId("x"), "why not")
    assert caught.value.code is Code.UNKNOWN_NODE
    with pytest.raises(Rejected) as caught:
        await alone.unpin(ShardId(SHARDS))
    assert caught.value.code is Code.UNKNOWN_SHARD
