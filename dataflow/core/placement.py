"""Which node should own each shard, and which of the moves there to make next.

A node that takes shards holds between its *share* (the weighted mean, rounded down) and its
*bound* (1.25 times the mean, rounded up: Mirrokni et al., "Consistent Hashing with Bounded Loads",
2018). A shard moves for three causes only: its owner is gone or draining, its owner is over its
bound, or another node is below its share; and of all targets in which every node is between share
and bound, the one chosen is the fewest moves away.

The membership alone can not tell that: a bound that sinks when a node joins would pass shards on
between the old ones. So the owners as of the same revision are an argument, and the target stays
what it is while it is being carried out: with any of the moves made, or half made (released, not
acquired yet), ``place`` gives the same answer. Why it does:

* Loads are settled BEFORE shards are. A load is a pile of units; nodes give the units that stand
  highest for their weight, and take those that stand lowest, in one order over all nodes. A move
  removes the top of the giver's pile and fills the bottom of the taker's, so what is left to give
  and to take is what it was less this move.
* What a node gives first depends on the shard and on the node alone.
* Shards choose in one order, each the first node behind it that has room. A shard that has moved
  took with it the room that it would have had.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from dataflow.core.errors import Rejected
from dataflow.core.ids import NodeId, ShardId
from dataflow.core.ring import VirtualNodes, position

WEIGHT_MAX = 16
"""The largest node of a cluster counts as sixteen of its smallest: more would put most shards, and
with them most of what a failure costs, on one node."""

NO_PINS: Mapping[ShardId, NodeId] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Member:
    """A node as its membership entry describes it."""

    weight: int = 1
    draining: bool = False

    def __post_init__(self) -> None:
        """Refuse a weight that no placement respects.

        Raises:
            Rejected: it is not within 1 and ``WEIGHT_MAX``.
        """
        if not 1 <= self.weight <= WEIGHT_MAX:
            raise Rejected(f"a node's weight is 1 to {WEIGHT_MAX}", field="weight")


class Cause(StrEnum):
    """Why a shard changes hands."""

    LOST = "lost"
    DRAINED = "drained"
    ASKED = "asked"
    BALANCED = "balanced"


@dataclass(frozen=True, slots=True)
class Move:
    """One shard that should change hands."""

    shard: ShardId
    source: NodeId | None
    """Who owns it now; None: nobody does."""
    target: NodeId

    def cause(
        self, members: Mapping[NodeId, Member], pins: Mapping[ShardId, NodeId] = NO_PINS
    ) -> Cause:
        """Tell why, for logs and counters."""
        member = members.get(self.source) if self.source is not None else None
        if member is None:
            return Cause.LOST
        if member.draining:
            return Cause.DRAINED
        return Cause.ASKED if pins.get(self.shard) == self.target else Cause.BALANCED


@dataclass(frozen=True, slots=True)
class _Limits:
    weight: int
    share: int
    bound: int


def place(
    members: Mapping[NodeId, Member],
    owners: Mapping[ShardId, NodeId],
    shards: int,
    pins: Mapping[ShardId, NodeId] = NO_PINS,
) -> Mapping[ShardId, NodeId]:
    """Return the owner that each shard should have; nothing if no node takes shards.

    Args:
        members: the nodes that are alive; those that drain get nothing.
        owners: who owns what as of the same revision. Shards that are missing, or owned by someone
            who is no member, have no owner.
        shards: how many there are, numbered from 0.
        pins: where people have moved a shard by hand. One holds as long as its node takes shards,
            up to the node's bound; other shards make room.
    """
    limits = _limits(members, shards)
    if not limits:
        return {}
    pinned = _pinned(limits, pins, shards)
    target = {
        shard: owner
        for shard in map(ShardId, range(shards))
        if (owner := pinned.get(shard) or owners.get(shard)) is not None and owner in limits
    }
    gives = _gives(limits, Counter(target.values()), Counter(pinned.values()), shards - len(target))
    if not gives and len(target) == shards:
        return target
    nodes = VirtualNodes.of({node: limit.weight for node, limit in limits.items()})
    movable = {shard: node for shard, node in target.items() if shard not in pinned}
    for shard in _given(movable, gives, nodes):
        del target[shard]
    free = [shard for shard in map(ShardId, range(shards)) if shard not in target]
    room = _room(limits, Counter(target.values()), len(free))
    for shard in sorted(free, key=position):
        target[shard] = next(node for node in nodes.walk(shard) if room[node] > 0)
        room[target[shard]] -= 1
    return target


def next_moves(
    current: Mapping[ShardId, NodeId],
    target: Mapping[ShardId, NodeId],
    in_motion: Collection[ShardId],
    limit: int,
) -> Sequence[Move]:
    """Return the moves to begin now.

    A shard without an owner is lost to its callers: all of them at once. Of planned moves at most
    ``limit`` are in motion together, so that few callers wait at any time; the node with the most
    left to give gives first.

    Args:
        current: who owns what.
        target: from ``place``, for the same owners.
        in_motion: shards whose move has begun and has not ended; they are left alone.
        limit: the most in motion together.
    """
    waiting = {shard: node for shard, node in sorted(target.items()) if shard not in in_motion}
    lost = [Move(shard, None, node) for shard, node in waiting.items() if shard not in current]
    planned = [
        Move(shard, current[shard], node)
        for shard, node in waiting.items()
        if shard in current and current[shard] != node
    ]
    giving: dict[NodeId | None, list[Move]] = {}
    for move in planned:
        giving.setdefault(move.source, []).append(move)
    chosen: list[Move] = []
    while len(in_motion) + len(chosen) < limit and (
        most := max(giving.values(), key=len, default=[])
    ):
        chosen.append(most.pop(0))
    return (*lost, *chosen)


def _limits(members: Mapping[NodeId, Member], shards: int) -> Mapping[NodeId, _Limits]:
    weights = {node: one.weight for node, one in sorted(members.items()) if not one.draining}
    total = sum(weights.values())
    return {
        node: _Limits(weight, shards * weight // total, -(-5 * shards * weight // (4 * total)))
        for node, weight in weights.items()
    }


def _pinned(
    limits: Mapping[NodeId, _Limits], pins: Mapping[ShardId, NodeId], shards: int
) -> Mapping[ShardId, NodeId]:
    pinned: dict[ShardId, NodeId] = {}
    room = Counter({node: limit.bound for node, limit in limits.items()})
    for shard, node in sorted(pins.items()):
        if shard < shards and room[node] > 0:
            pinned[shard] = node
            room[node] -= 1
    return pinned


def _gives(
    limits: Mapping[NodeId, _Limits],
    loads: Mapping[NodeId, int],
    pins: Mapping[NodeId, int],
    free: int,
) -> Counter[NodeId]:
    """Choose how many shards each node gives up: as few as bounds and shares ask for."""
    over = sum(max(0, loads[node] - limit.bound) for node, limit in limits.items())
    under = sum(max(0, limit.share - loads[node]) for node, limit in limits.items())
    units = sorted(
        (
            (load > limit.bound, load / limit.weight, node)
            for node, limit in limits.items()
            for load in range(max(limit.share, pins[node]) + 1, loads[node] + 1)
        ),
        reverse=True,
    )
    return Counter(node for _, _, node in units[: max(over, under - free)])


def _given(
    held: Mapping[ShardId, NodeId], gives: Counter[NodeId], nodes: VirtualNodes
) -> Iterable[ShardId]:
    """Choose which: a node keeps what the ring gives it, and has it again when it comes back."""
    movable = (shard for shard, node in held.items() if gives[node])
    for shard in sorted(movable, key=lambda one: (nodes.first(one) == held[one], position(one))):
        if gives[held[shard]] > 0:
            gives[held[shard]] -= 1
            yield shard


def _room(
    limits: Mapping[NodeId, _Limits], loads: Mapping[NodeId, int], free: int
) -> Counter[NodeId]:
    """Choose how many of the free shards each node takes.

    Shares are filled first: what is above one is above the mean, which is the same for all.
    """
    units = sorted(
        (load / limit.weight, node)
        for node, limit in limits.items()
        for load in range(loads[node] + 1, limit.bound + 1)
    )
    return Counter(node for _, node in units[:free])
