"""Maps of clusters for tests, made as nodes make them: from keys."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dataflow.cluster.cluster_map import ClusterMap
from dataflow.cluster.coordination.contract import Entry, LeaseId, Listing, Revision
from dataflow.cluster.registration import (
    Keys,
    Meta,
    Move,
    Ownership,
    Registration,
    value_bytes,
)
from dataflow.core.ids import NodeId, ShardId
from dataflow.journal.contract import Fence

NOW = datetime(2026, 1, 2, tzinfo=UTC)
KEYS = Keys("c")
SHARDS = 4


def registration(name: str, *, draining: bool = False, boot: str = "") -> Registration:
    """Return a node; its boot is named like it unless it says otherwise."""
    return Registration(
        NodeId(name), boot or f"{name}-1", f"{name}:1", NOW, draining=draining, why_draining=""
    )


def ownership(name: str, fence: int = 1, boot: str = "") -> Ownership:
    """Return a shard's owner; fence 0 is one that is still taking it up."""
    return Ownership(NodeId(name), boot or f"{name}-1", NOW, Fence(fence))


def cluster(
    *nodes: Registration,
    owners: Mapping[int, Ownership] | None = None,
    moves: Mapping[int, Move] | None = None,
) -> ClusterMap:
    """Return a map of four shards."""
    values: dict[str, Any] = {KEYS.meta: Meta(SHARDS)}
    values |= {KEYS.node(one.node): one for one in nodes}
    values |= {KEYS.owner(ShardId(n)): one for n, one in (owners or {}).items()}
    values |= {KEYS.move(ShardId(n)): one for n, one in (moves or {}).items()}
    entries = [
        Entry(key, value_bytes(value), Revision(number), LeaseId(7))
        for number, (key, value) in enumerate(values.items(), 1)
    ]
    return ClusterMap.of(KEYS, Listing(Revision(100), entries))
