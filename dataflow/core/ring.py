"""A consistent-hash ring: every node has many points on it, every shard one position.

Who stands behind a position, in which order, depends on nothing but the nodes' names and weights:
every node of a cluster finds the same, and a node that joins or leaves changes the order of no
two others (Karger et al., "Consistent Hashing and Random Trees", 1997).
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import xxhash

from dataflow.core.ids import NodeId, ShardId

POINTS = 64
"""Of a node of weight 1: with them the shares of ten equal nodes differ by an eighth of the mean
(one standard deviation), which the bound on load then evens out."""


RINGS_KEPT = 4
"""A membership, and those just before it; one of 1,000 nodes holds 3.5 MB."""


@dataclass(frozen=True, slots=True)
class VirtualNodes:
    """The points of all nodes, in the order of the ring."""

    positions: tuple[int, ...]
    nodes: tuple[NodeId, ...]
    """The node of each point."""

    @classmethod
    def of(cls, weights: Mapping[NodeId, int]) -> VirtualNodes:
        """Give each node points in proportion to its weight; in whichever order they are named.

        Those of 1,000 nodes take 60 ms, and are asked for at each change of an owner: the latest
        are kept.
        """
        return _virtual_nodes(tuple(sorted(weights.items())))

    def first(self, shard: ShardId) -> NodeId:
        """Return the node that a shard falls to, loads aside."""
        return self.nodes[bisect(self.positions, position(shard)) % len(self.nodes)]

    def walk(self, shard: ShardId) -> Iterator[NodeId]:
        """Yield each node once, in the order in which it comes behind a shard."""
        start = bisect(self.positions, position(shard))
        seen: set[NodeId] = set()
        for number in range(start, start + len(self.nodes)):
            node = self.nodes[number % len(self.nodes)]
            if node not in seen:
                seen.add(node)
                yield node


@lru_cache(maxsize=RINGS_KEPT)
def _virtual_nodes(weights: Sequence[tuple[NodeId, int]]) -> VirtualNodes:
    points = sorted(
        (_hash(f"{node}/{number}"), node)
        for node, weight in weights
        for number in range(weight * POINTS)
    )
    return VirtualNodes(tuple(place for place, _ in points), tuple(node for _, node in points))


def position(shard: ShardId) -> int:
    """Return where a shard stands on every ring."""
    return _hash(f"shard/{shard}")


def _hash(text: str) -> int:
    return xxhash.xxh64_intdigest(text.encode())
