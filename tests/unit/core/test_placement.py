"""Where shards go: the cases that people meet, each with the answer."""

from __future__ import annotations

from collections import Counter

import pytest

from dataflow.core.errors import Rejected
from dataflow.core.ids import NodeId, ShardId
from dataflow.core.placement import WEIGHT_MAX, Cause, Member, Move, next_moves, place
from dataflow.core.ring import VirtualNodes

A, B, C, D = map(NodeId, "abcd")
THREE = {A: Member(), B: Member(), C: Member()}
FOUR = THREE | {D: Member()}


def owners(text: str) -> dict[ShardId, NodeId]:
    """Read who owns shard 0, 1, 2, …; a dash: nobody."""
    return {ShardId(number): NodeId(node) for number, node in enumerate(text) if node != "-"}


@pytest.mark.parametrize("shards", [64, 1_024])
def test_a_node_that_joins_three_takes_its_share_and_nothing_else_moves(shards: int) -> None:
    """Each move is a wait for the callers of a shard: a join may cost 1.1 times the fewest."""
    before = place(THREE, {}, shards)
    after = place(FOUR, before, shards)
    moved = [shard for shard in after if after[shard] != before[shard]]
    assert Counter(after.values())[D] == shards // 4
    assert len(moved) <= 1.1 * (shards // 4)


def test_a_node_that_comes_back_gets_most_of_the_shards_it_had() -> None:
    """A rolling restart ends as it began, so that what nodes have cached goes on to serve."""
    before = place(THREE, {}, 1_024)
    without = place({A: Member(), B: Member()}, before, 1_024)
    again = place(THREE, without, 1_024)
    had = {shard for shard, node in before.items() if node == C}
    has = {shard for shard, node in again.items() if node == C}
    assert len(had & has) >= 0.8 * len(had)


def test_a_node_of_twice_the_weight_holds_twice_the_shards() -> None:
    """Machines of a cluster differ; a small one given an equal part would be the slowest."""
    loads = Counter(place({A: Member(weight=2), B: Member(), C: Member()}, {}, 64).values())
    assert loads[A] == 32


def test_a_node_within_its_bound_keeps_what_nobody_lacks() -> None:
    """Evening out to the last shard would move some at each join and leave, for nothing."""
    uneven = owners("aaa" + "b" + "c")
    assert place(THREE, uneven, 5) == uneven


def test_what_a_new_node_lacks_comes_from_those_with_most() -> None:
    """A join is what relieves an overloaded node; it should leave loads more even than it found."""
    loads = Counter(place(FOUR, owners("aaaaaa" + "bbbb" + "cccc"), 14).values())
    assert sorted(loads.values()) == [3, 3, 4, 4]


def test_a_draining_node_gets_nothing_and_keeps_nothing() -> None:
    """It is about to stop: what it took meanwhile would move twice."""
    target = place(THREE | {C: Member(draining=True)}, owners("abccba"), 6)
    assert Counter(target.values()) == {A: 3, B: 3}


def test_where_every_node_drains_nothing_is_placed() -> None:
    """A cluster that is being stopped hands its shards to nobody."""
    assert place({A: Member(draining=True)}, owners("aa"), 2) == {}


def test_a_shard_moved_by_hand_stays_and_another_makes_room() -> None:
    """Placement would undo by itself what an operator had asked for a moment ago."""
    target = place(THREE, owners("aabbcc"), 6, {ShardId(0): B})
    assert target[ShardId(0)] == B
    assert Counter(target.values()) == {A: 2, B: 2, C: 2}


@pytest.mark.parametrize(
    "members", [{A: Member(), C: Member()}, THREE | {B: Member(draining=True)}]
)
def test_a_pin_to_a_node_that_takes_no_shards_is_void(members: dict[NodeId, Member]) -> None:
    """A shard must not wait without an owner for a node that may never come back."""
    assert place(members, owners("aaaccc"), 6, {ShardId(0): B}) == owners("aaaccc")


def test_pins_end_where_a_node_is_full() -> None:
    """An operator who moves everything to one node must not take the cluster down with it."""
    pins = {ShardId(shard): A for shard in range(64)}
    assert Counter(place(THREE, {}, 64, pins).values())[A] == 27


@pytest.mark.parametrize("weight", [0, -1, WEIGHT_MAX + 1])
def test_a_weight_out_of_bounds_is_refused(weight: int) -> None:
    """A weight of nothing would be a node that drains, without saying so."""
    with pytest.raises(Rejected, match=r"weight: a node's weight is 1 to 16"):
        Member(weight=weight)


def test_the_ring_keeps_the_order_of_the_others_when_a_node_joins() -> None:
    """That is what makes a ring of it: a plain modulus would name other nodes for most shards."""
    without, joined = (VirtualNodes.of(dict.fromkeys(nodes, 1)) for nodes in ([A, B, C], FOUR))
    for shard in map(ShardId, range(100)):
        assert [node for node in joined.walk(shard) if node != D] == list(without.walk(shard))
        assert joined.first(shard) == next(joined.walk(shard))


def test_lost_shards_move_at_once_and_planned_ones_by_turns() -> None:
    """A lost shard's callers wait already; each planned move makes others wait."""
    moves = next_moves(owners("aaab--"), owners("cccbcc"), set(), 1)
    assert moves == (
        Move(ShardId(4), None, C),
        Move(ShardId(5), None, C),
        Move(ShardId(0), A, C),
    )


def test_moves_in_motion_count_and_are_not_begun_again() -> None:
    """A second order for a shard on its way could send it back."""
    current, target = owners("aaa-"), owners("cccc")
    assert next_moves(current, target, {ShardId(0), ShardId(3)}, 2) == ()
    assert next_moves(current, target, {ShardId(0), ShardId(3)}, 3) == (Move(ShardId(1), A, C),)


def test_the_node_with_most_to_give_gives_first() -> None:
    """It is the one that suffers: overloaded, or waiting to stop."""
    moves = next_moves(owners("abbbcc"), owners("dddddd"), set(), 3)
    assert [move.source for move in moves] == [B, B, C]


@pytest.mark.parametrize(
    ("move", "cause"),
    [
        (Move(ShardId(0), None, A), Cause.LOST),
        (Move(ShardId(0), D, A), Cause.LOST),
        (Move(ShardId(0), C, A), Cause.DRAINED),
        (Move(ShardId(0), B, A), Cause.BALANCED),
        (Move(ShardId(1), B, A), Cause.ASKED),
    ],
)
def test_a_move_tells_its_cause(move: Move, cause: Cause) -> None:
    """An operator who sees a shard move asks why first."""
    members = {A: Member(), B: Member(), C: Member(draining=True)}
    assert move.cause(members, {ShardId(1): A}) == cause
