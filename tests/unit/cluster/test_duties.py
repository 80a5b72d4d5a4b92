"""What a node does about shards, for every state that a shard can be in."""

from __future__ import annotations

from collections.abc import Collection

from dataflow.cluster.cluster_map import ClusterMap
from dataflow.cluster.duties import Acquire, Announce, Duty, Release, duties
from dataflow.cluster.registration import Move
from dataflow.core.events import Cause
from dataflow.core.ids import NodeId, ShardId
from tests.unit.cluster.clusters import NOW, SHARDS, cluster, ownership, registration

A, B = registration("a"), registration("b")
ALL = range(SHARDS)


def of(seen: ClusterMap, node: str = "a", serving: Collection[int] = ()) -> list[Duty]:
    """Return a node's duties."""
    found = duties(seen, NodeId(node), f"{node}-1", serving=[ShardId(n) for n in serving])
    return list(found)


def test_the_heir_of_a_shard_that_nobody_owns_acquires_it() -> None:
    """Two heirs, and between them every shard once."""
    seen = cluster(A, B)
    wanted = [duty.shard for node in "ab" for duty in of(seen, node) if isinstance(duty, Acquire)]
    assert sorted(wanted) == list(ALL)


def test_a_shard_that_was_to_move_is_acquired_by_where_it_was_to_move() -> None:
    """Its former owner named the heir when it let go."""
    moves = {n: Move(NodeId("a"), NodeId("b"), "balanced", NOW) for n in ALL}
    seen = cluster(A, B, moves=moves)
    assert of(seen) == []
    assert {duty.cause for duty in of(seen, "b") if isinstance(duty, Acquire)} == {Cause.MOVE}


def test_a_move_to_a_node_that_is_gone_or_drains_binds_nobody() -> None:
    """Else nobody would ever own the shard."""
    moves = {0: Move(NodeId("a"), NodeId("b"), "balanced", NOW)}
    for others in ((), (registration("b", draining=True),)):
        seen = cluster(A, *others, owners={n: ownership("a") for n in (1, 2, 3)}, moves=moves)
        assert [duty.shard for duty in of(seen, serving=[1, 2, 3])] == [0]


def test_a_shard_of_mine_that_i_do_not_serve_is_acquired_again() -> None:
    """Taking it up was cut off, and the key still has my name."""
    seen = cluster(A, owners={n: ownership("a", fence=0) for n in ALL})
    (duty,) = of(seen, serving=[1, 2, 3])[:1]
    assert isinstance(duty, Acquire)
    assert duty.shard == 0


def test_a_shard_that_i_serve_and_nobody_knows_of_is_announced() -> None:
    """Its announcement was lost; routers would wait for ever."""
    seen = cluster(A, owners={n: ownership("a", fence=n) for n in ALL})
    assert of(seen, serving=ALL) == [Announce(ShardId(0))]


def test_a_shard_that_shall_move_is_released_to_its_heir() -> None:
    """Only by its owner, and only while the heir takes shards."""
    moves = {0: Move(NodeId("a"), NodeId("b"), "balanced", NOW)}
    owners = {n: ownership("a" if n < 3 else "b") for n in ALL}
    seen = cluster(A, B, owners=owners, moves=moves)
    assert of(seen, serving=[0, 1, 2]) == [Release(ShardId(0), NodeId("b"), "balanced")]
    assert of(seen, "b", serving=[3]) == []


def test_a_draining_node_releases_what_it_has_and_takes_nothing() -> None:
    """Even what it never got to serve: its name must not stand on it."""
    drains = registration("a", draining=True)
    seen = cluster(drains, B, owners={0: ownership("a"), 1: ownership("a", fence=0)})
    released = of(seen, serving=[0])
    assert [type(duty) for duty in released] == [Release, Release]
    assert {duty.heir for duty in released if isinstance(duty, Release)} == {"b"}


def test_a_former_self_has_no_duties_and_its_shards_are_not_mine() -> None:
    """A node that came back must wait until its old lease is gone, or it would share a fence."""
    old = {n: ownership("a", boot="a-0") for n in ALL}
    assert of(cluster(A, owners=old)) == []
    assert of(cluster(registration("a", boot="a-2"), owners=old), serving=ALL) == []


def test_a_move_that_has_arrived_is_announced_so_that_it_ends() -> None:
    """Its announcement deletes the move."""
    moves = {0: Move(NodeId("b"), NodeId("a"), "balanced", NOW)}
    owners = {n: ownership("a" if n < 2 else "b") for n in ALL}
    seen = cluster(A, B, owners=owners, moves=moves)
    assert of(seen, serving=[0, 1]) == [Announce(ShardId(0))]
