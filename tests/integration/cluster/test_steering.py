"""What an operator asks of nodes that are there and do it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from dataflow.app.steering import Steering
from dataflow.core.commands import CreatePipeline, StartPipeline
from dataflow.core.errors import Code, Rejected
from dataflow.core.ids import NodeId, ShardId
from dataflow.server.cluster_backend import Cluster as Shown
from dataflow.server.cluster_backend import ShardState
from tests.integration.cluster.test_cluster import IDS, SPEC, commands

if TYPE_CHECKING:
    from tests.integration.cluster.conftest import Cluster

A, B, C = map(NodeId, "abc")


async def until(steering: Steering, so: Callable[[Shown], bool]) -> Shown:
    """Return the cluster once it is as a test waits for."""
    async with asyncio.timeout(20):
        while not so(seen := await steering.cluster()):  # noqa: ASYNC110 - the state is what is waited for
            await asyncio.sleep(0.01)
    return seen


def quiet(seen: Shown) -> bool:
    """Tell whether every shard is served and none is to move."""
    return all(shard.state is ShardState.SERVING for shard in seen.shards)


def held(seen: Shown, node: NodeId) -> set[ShardId]:
    """Return the shards of a node."""
    return {shard.shard for shard in seen.shards if shard.owner == node}


async def test_a_drained_node_is_emptied_and_undrained_gets_its_share_again(
    cluster: Cluster,
) -> None:
    """Asked of any node; a disk is changed without a request that fails."""
    for name in "abc":
        await cluster.start(name)
    await cluster.settled("a", "b", "c")
    steering = cluster.nodes["b"].steering
    assert await steering.drain(A, "a new disk")
    seen = await until(steering, lambda seen: quiet(seen) and not held(seen, A))
    drained = seen.nodes[0]
    assert (drained.shards, drained.draining, drained.reason) == (0, True, "a new disk")
    assert await steering.undrain(A)
    await until(steering, lambda seen: quiet(seen) and len(held(seen, A)) == 4)


async def test_a_drained_node_that_loses_its_lease_is_drained_still(cluster: Cluster) -> None:
    """Whoever is about to switch it off hears nothing of a lease, and of an undrain all do."""
    for name in "ab":
        await cluster.start(name)
    await cluster.settled("a", "b")
    steering = cluster.nodes["b"].steering
    assert await steering.drain(A, "a new disk")
    await until(steering, lambda seen: quiet(seen) and not held(seen, A))
    await loses_its_lease(cluster)
    seen = await until(steering, quiet)
    assert (seen.nodes[0].draining, seen.nodes[0].reason) == (True, "a new disk")
    assert not held(seen, A)
    assert await steering.undrain(A)
    await until(steering, lambda seen: quiet(seen) and len(held(seen, A)) == 6)
    await loses_its_lease(cluster)
    seen = await until(steering, lambda seen: quiet(seen) and len(held(seen, A)) == 6)
    assert not seen.nodes[0].draining


async def loses_its_lease(cluster: Cluster) -> None:
    """Take the lease of the first node away, and return once it has registered anew."""
    membership = cluster.nodes["b"].membership
    key = membership.map.keys.node(A)
    boot = membership.map.nodes[A].boot
    cluster.service.revoke(membership.map.entries[key].lease)
    async with asyncio.timeout(20):
        while (found := membership.map.nodes.get(A)) is None or found.boot == boot:
            await membership.changed(membership.map.revision)


async def test_two_drains_at_once_leave_one_node(cluster: Cluster) -> None:
    """Each would be right alone."""
    for name in "ab":
        await cluster.start(name)
    await cluster.settled("a", "b")
    outcomes = await asyncio.gather(
        cluster.nodes["a"].steering.drain(A, "one"),
        cluster.nodes["b"].steering.drain(B, "two"),
        return_exceptions=True,
    )
    [refused] = [outcome for outcome in outcomes if outcome is not True]
    assert isinstance(refused, Rejected)
    assert refused.code is Code.NO_OTHER_NODE


async def test_a_shard_that_was_put_somewhere_stays_until_its_node_goes(cluster: Cluster) -> None:
    """Placement does not move it back, nor leave it without an owner."""
    for name in "abc":
        await cluster.start(name)
    await cluster.settled("a", "b", "c")
    steering = cluster.nodes["a"].steering
    [shard, *_] = held(await steering.cluster(), A)
    assert await steering.move(shard, B, "ada")
    await until(steering, lambda seen: quiet(seen) and shard in held(seen, B))
    await cluster.stop("c")
    seen = await until(steering, lambda seen: quiet(seen) and not held(seen, C))
    assert shard in held(seen, B)
    await cluster.stop("b")
    seen = await until(steering, lambda seen: quiet(seen) and len(held(seen, A)) == 12)
    assert seen.shards[shard].pinned == "b"
    assert await steering.unpin(shard)


async def test_what_shards_hold_is_asked_of_their_owners(cluster: Cluster) -> None:
    """Whichever node is asked, and only of what is asked for."""
    for name in "ab":
        await cluster.start(name)
    await cluster.settled("a", "b")
    node = cluster.nodes["a"]
    await node.routed.execute(commands(CreatePipeline(SPEC)))
    await node.routed.execute(commands(StartPipeline(), IDS[:1]))
    seen = await until(node.steering, quiet)
    loads = await node.steering.loads([one.shard for one in seen.shards])
    assert len(loads) == 12
    assert sum(load.pipelines for load in loads.values()) == len(IDS)
    assert sum(load.running for load in loads.values()) == 1
    [mine, theirs] = min(held(seen, A)), min(held(seen, B))
    some = await node.steering.loads([mine, theirs])
    assert some == {mine: loads[mine], theirs: loads[theirs]}


@pytest.mark.parametrize("name", ["a", "x"])
async def test_the_only_node_and_one_that_is_not_there_are_told_apart(
    cluster: Cluster, name: str
) -> None:
    """The one must not be drained, the other cannot."""
    await cluster.start("a")
    await cluster.settled("a")
    with pytest.raises(Rejected) as caught:
        await cluster.nodes["a"].steering.drain(NodeId(name), "why not")
    assert caught.value.code is (Code.NO_OTHER_NODE if name == "a" else Code.UNKNOWN_NODE)
