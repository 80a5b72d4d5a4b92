"""What a node has to do about the cluster's shards: a function of the map and of what it serves.

    nobody owns it, and I am its heir          -> Acquire
    I own it, and it shall move, or I drain    -> Release
    I own it and do not serve it               -> Acquire (an earlier try was cut off)
    I own and serve it, and none knows that    -> Announce

Two nodes whose maps differ may both want a shard: the transaction on its key lets one have it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from dataflow.cluster.cluster_map import ClusterMap
from dataflow.core.events import Cause
from dataflow.core.ids import NodeId, ShardId


@dataclass(frozen=True, slots=True)
class Acquire:
    """Put my name on a shard, fence its log, load it, serve it."""

    shard: ShardId
    cause: Cause
    why: str


@dataclass(frozen=True, slots=True)
class Announce:
    """Tell that a shard is served, and that its move is over."""

    shard: ShardId


@dataclass(frozen=True, slots=True)
class Release:
    """Finish a shard's work and take my name off."""

    shard: ShardId
    heir: NodeId | None
    why: str


Duty: TypeAlias = Acquire | Announce | Release


def duties(
    seen: ClusterMap, node: NodeId, boot: str, *, serving: Collection[ShardId]
) -> Iterator[Duty]:
    """Yield what a node has to do, at most one thing a shard."""
    if seen.meta is None or node not in seen.nodes or seen.nodes[node].boot != boot:
        return
    target = seen.target()
    for number in range(seen.meta.shards):
        shard = ShardId(number)
        owner = seen.owners.get(shard)
        if owner is None:
            if seen.heir(shard, target) == node and seen.takes_shards(node):
                yield _acquire(seen, shard)
        elif (owner.node, owner.boot) == (node, boot):
            yield from _mine(seen, shard, target, serving=shard in serving)


def _mine(
    seen: ClusterMap, shard: ShardId, target: Mapping[ShardId, NodeId], *, serving: bool
) -> Iterator[Duty]:
    owner, move = seen.owners[shard], seen.moves.get(shard)
    if seen.nodes[owner.node].draining:
        why = seen.nodes[owner.node].why_draining or "the node drains"
        yield Release(shard, target.get(shard), why)
    elif not serving:
        yield _acquire(seen, shard)
    elif move is not None and move.target != owner.node and seen.takes_shards(move.target):
        yield Release(shard, move.target, move.cause)
    elif not owner.is_serving or (move is not None and move.target == owner.node):
        yield Announce(shard)


def _acquire(seen: ClusterMap, shard: ShardId) -> Acquire:
    move = seen.moves.get(shard)
    if move is None:
        return Acquire(shard, Cause.FAILOVER, "nobody owned it")
    return Acquire(shard, Cause.MOVE, f"{move.cause}, from {move.source}")
