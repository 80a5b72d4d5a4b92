"""Nodes that come, go and drain in any number: every shard has its place, and moves once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from typing import TypeVar

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dataflow.core.ids import NodeId, ShardId
from dataflow.core.placement import Member, next_moves, place

K = TypeVar("K")
V = TypeVar("V")
NODES = [NodeId(f"node-{number}") for number in range(12)]

names = st.sampled_from(NODES)
member = st.builds(
    Member, weight=st.sampled_from([1, 1, 2, 5, 16]), draining=st.sampled_from([False, False, True])
)
members = st.dictionaries(names, member, min_size=1, max_size=8)
counts = st.integers(1, 100)


def bound(nodes: Mapping[NodeId, Member], node: NodeId, shards: int) -> int:
    """Return 1.25 times a node's weighted mean, rounded up."""
    total = sum(one.weight for one in nodes.values() if not one.draining)
    return -(-5 * shards * nodes[node].weight // (4 * total))


def share(nodes: Mapping[NodeId, Member], node: NodeId, shards: int) -> int:
    """Return a node's weighted mean, rounded down."""
    total = sum(one.weight for one in nodes.values() if not one.draining)
    return shards * nodes[node].weight // total


def taking(nodes: Mapping[NodeId, Member]) -> list[NodeId]:
    """Return the nodes that do not drain."""
    return [node for node, one in nodes.items() if not one.draining]


@st.composite
def owned(draw: st.DrawFn, nodes: Sequence[NodeId], shards: int) -> dict[ShardId, NodeId]:
    """Draw owners as no placement may ever have left them: lopsided, some shards with none."""
    favours = draw(st.lists(st.integers(0, 9), min_size=len(nodes), max_size=len(nodes)))
    assume(any(favours))
    held = draw(st.sampled_from([0.9, 1.0]))
    chooser = random.Random(draw(st.integers(0, 2**32)))
    return {
        ShardId(shard): chooser.choices(nodes, favours)[0]
        for shard in range(shards)
        if chooser.random() < held
    }


@st.composite
def situations(
    draw: st.DrawFn,
) -> tuple[dict[NodeId, Member], dict[ShardId, NodeId], int, dict[ShardId, NodeId]]:
    """Draw a membership, owners of other memberships, a number of shards, and pins."""
    nodes = draw(members)
    assume(taking(nodes))
    shards = draw(counts)
    pins = draw(st.dictionaries(st.integers(0, shards).map(ShardId), names, max_size=6))
    gone = draw(st.lists(names, max_size=1))
    return nodes, draw(owned([*nodes, *gone], shards)), shards, pins


@given(situations())
def test_every_shard_has_one_owner_that_takes_shards(
    situation: tuple[dict[NodeId, Member], dict[ShardId, NodeId], int, dict[ShardId, NodeId]],
) -> None:
    """A shard that nobody is named for is served by nobody, for as long as the nodes stay."""
    nodes, owners, shards, pins = situation
    target = place(nodes, owners, shards, pins)
    assert sorted(target) == list(range(shards))
    assert set(target.values()) <= set(taking(nodes))


@given(situations())
def test_no_node_is_over_its_bound_and_without_pins_none_is_below_its_share(
    situation: tuple[dict[NodeId, Member], dict[ShardId, NodeId], int, dict[ShardId, NodeId]],
) -> None:
    """A node of twice the weight carries twice the load, and a node that joins gets work."""
    nodes, owners, shards, pins = situation
    loads = Counter(place(nodes, owners, shards, pins).values())
    assert all(loads[node] <= bound(nodes, node, shards) for node in taking(nodes))
    loads = Counter(place(nodes, owners, shards).values())
    assert all(
        share(nodes, node, shards) <= loads[node] <= bound(nodes, node, shards)
        for node in taking(nodes)
    )


@given(situations(), st.randoms(use_true_random=False))
def test_every_node_computes_the_same(
    situation: tuple[dict[NodeId, Member], dict[ShardId, NodeId], int, dict[ShardId, NodeId]],
    order: random.Random,
) -> None:
    """Two nodes hear of the members in different orders and must not want a shard both."""
    nodes, owners, shards, pins = situation

    def shuffled(mapping: dict[K, V]) -> dict[K, V]:
        return dict(order.sample(list(mapping.items()), len(mapping)))

    again = place(shuffled(nodes), shuffled(owners), shards, shuffled(pins))
    assert again == place(nodes, owners, shards, pins)


@given(situations(), st.randoms(use_true_random=False))
def test_a_target_stays_while_it_is_carried_out(
    situation: tuple[dict[NodeId, Member], dict[ShardId, NodeId], int, dict[ShardId, NodeId]],
    chance: random.Random,
) -> None:
    """Nodes place again at each change of an owner: a target that shifted would move shards twice.

    Any of the moves have been made, in whichever order, and any others are half made: the old
    owner has released the shard and the new one has not acquired it.
    """
    nodes, owners, shards, pins = situation
    target = place(nodes, owners, shards, pins)
    between = dict(owners)
    for shard, node in target.items():
        if owners.get(shard) == node:
            continue
        step = chance.choice(["not begun", "half made", "made"])
        if step != "not begun":
            between.pop(shard, None)
        if step == "made":
            between[shard] = node
    assert place(nodes, between, shards, pins) == target


@settings(deadline=None)
@given(situations(), st.integers(1, 5), st.randoms(use_true_random=False))
def test_paced_moves_end_at_the_target_and_no_shard_moves_twice(
    situation: tuple[dict[NodeId, Member], dict[ShardId, NodeId], int, dict[ShardId, NodeId]],
    limit: int,
    chance: random.Random,
) -> None:
    """A coordinator that places anew before each step must still come to an end."""
    nodes, owners, shards, pins = situation
    owners = {s: node for s, node in owners.items() if node in nodes}
    target = place(nodes, owners, shards, pins)
    moved: Counter[ShardId] = Counter()
    motion: dict[ShardId, NodeId] = {}
    for _ in range(shards + 1):
        for move in next_moves(owners, place(nodes, owners, shards, pins), set(motion), limit):
            assert move.shard not in motion
            assert owners.pop(move.shard, None) == move.source
            motion[move.shard] = move.target
            moved[move.shard] += 1
        if motion:
            arrived = chance.choice(sorted(motion))
            owners[arrived] = motion.pop(arrived)
    assert owners == target
    assert all(times == 1 for times in moved.values())


@given(
    st.dictionaries(st.sampled_from(NODES[:5]), st.builds(Member, st.integers(1, 3)), max_size=3),
    st.lists(st.sampled_from([*NODES[:4], None]), min_size=1, max_size=6),
)
def test_no_other_target_is_fewer_moves_away(
    nodes: dict[NodeId, Member], held: list[NodeId | None]
) -> None:
    """Each move costs callers a wait: of all targets within the limits, the nearest is chosen."""
    assume(nodes)
    shards = len(held)
    owners = {ShardId(number): node for number, node in enumerate(held) if node is not None}

    def within(target: tuple[NodeId, ...]) -> bool:
        return all(
            share(nodes, node, shards) <= target.count(node) <= bound(nodes, node, shards)
            for node in nodes
        )

    fewest = min(
        sum(one != other for one, other in zip(held, target, strict=True))
        for target in product(nodes, repeat=shards)
        if within(target)
    )
    target = place(nodes, owners, shards)
    assert sum(owners.get(shard) != node for shard, node in target.items()) == fewest


@given(st.integers(1, 9), st.integers(1, 9), st.integers(64, 400))
def test_nodes_that_join_a_balanced_cluster_are_all_that_shards_move_to(
    old: int, new: int, shards: int
) -> None:
    """What passes from one old node to another is a wait for nothing.

    They get their shares, and no more unless the old ones would be over their bounds.
    """
    before = {NodeId(f"old-{number}"): Member() for number in range(old)}
    after = before | {NodeId(f"new-{number}"): Member() for number in range(new)}
    owners = place(before, {}, shards)
    loads = Counter(owners.values())
    target = place(after, owners, shards)
    moved = [shard for shard in target if target[shard] != owners[shard]]
    assert {target[shard] for shard in moved}.isdisjoint(before)
    shares = sum(share(after, node, shards) for node in after if node not in before)
    over = sum(max(0, load - bound(after, node, shards)) for node, load in loads.items())
    assert len(moved) == max(shares, over)


@given(members, st.sets(names, min_size=1), counts)
def test_nodes_that_leave_take_nothing_but_their_own_shards_with_them(
    nodes: dict[NodeId, Member], gone: set[NodeId], shards: int
) -> None:
    """A failover that moved healthy shards too would spread one node's death over the cluster."""
    stay = {node: one for node, one in nodes.items() if node not in gone}
    assume(taking(stay))
    owners = place(nodes, {}, shards)
    target = place(stay, owners, shards)
    moved = {shard for shard in target if target[shard] != owners[shard]}
    assert moved == {shard for shard, node in owners.items() if node in gone}
