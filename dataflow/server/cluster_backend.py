"""What the server needs from the cluster behind it, and what is shown of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from dataflow.core.errors import Code, Rejected
from dataflow.core.ids import NodeId, ShardId


class ShardState(StrEnum):
    """What becomes of a shard's requests now."""

    UNOWNED = "unowned"
    """Nobody owns it: they wait."""
    ACQUIRING = "acquiring"
    """A node has taken it and is loading it: they wait."""
    SERVING = "serving"
    MOVING = "moving"
    """Its owner is about to hand it over."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is there."""

    node_id: NodeId
    address: str
    weight: int
    draining: bool
    reason: str
    """Why it drains."""
    leader: bool
    shards: int
    joined_at: datetime


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard; what does not apply is empty."""

    shard: ShardId
    state: ShardState
    owner: str = ""
    fence: int = 0
    since: datetime | None = None
    target: str = ""
    """Where it is to move."""
    cause: str = ""
    """Why: a ``core.placement.Cause``, or the words of who had it moved."""
    pinned: str = ""
    """Where a person has put it."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Everything about a cluster, all as of one revision."""

    name: str
    revision: int
    answered_by: str
    """The node that this program is; empty for a gateway alone."""
    leader: str
    nodes: Sequence[Node]
    """In order of their ids."""
    shards: Sequence[Shard]
    """Every one, in order of their numbers."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a shard holds."""

    pipelines: int
    running: int


class ClusterBackend(Protocol):
    """What can be asked of a cluster. All errors are those of ``dataflow.core.errors``.

    Whatever is changed here shows in the next ``cluster()`` of the same program. Asking for what
    already holds succeeds, and says that nothing has changed. When nodes do as they are told is
    their business: a drain or a move is answered as soon as they will hear of it.
    """

    async def cluster(self) -> Cluster:
        """Return what this program knows of the cluster; it may be late, and asks nobody."""
        ...

    async def loads(self, shards: Sequence[ShardId]) -> Mapping[ShardId, Load]:
        """Return what some shards hold, those of which that can be known."""
        ...

    async def drain(self, node: NodeId, reason: str) -> bool:
        """Let a node hand its shards over and take no more, until it is undrained or starts again.

        Raises:
            Rejected: UNKNOWN_NODE; NO_OTHER_NODE where nobody else takes shards.
            Unavailable: OUTCOME_UNKNOWN among others; asking again does no harm.
        """
        ...

    async def undrain(self, node: NodeId) -> bool:
        """Let a node take shards again; raises as ``drain`` does."""
        ...

    async def move(self, shard: ShardId, node: NodeId, actor: str) -> bool:
        """Put a shard on a node, where it stays while that node takes shards, up to its bound.

        Raises:
            Rejected: UNKNOWN_SHARD, UNKNOWN_NODE; NODE_DRAINING; NO_OTHER_NODE where there is one
                node for ever.
            Unavailable: as for ``drain``.
        """
        ...

    async def unpin(self, shard: ShardId) -> bool:
        """Let a shard be placed like any other again; raises as ``move`` does."""
        ...


def unknown_node(node: str) -> Rejected:
    """Return the refusal of a node that is not there."""
    message = f"there is no node {node[:80]!r}; `dataflowctl cluster nodes` lists them"
    return Rejected(message, code=Code.UNKNOWN_NODE, field="nodeId")


def unknown_shard(shard: int, shards: int) -> Rejected:
    """Return the refusal of a shard that there is not."""
    message = f"there is no shard {shard}; they are numbered 0 to {shards - 1}"
    return Rejected(message, code=Code.UNKNOWN_SHARD, field="shard")


def node_drains(node: str) -> Rejected:
    """Return the refusal of a shard for a node that hands its own over."""
    message = f"node {node} drains and takes no shards; undrain it first"
    return Rejected(message, code=Code.NODE_DRAINING, field="nodeId")


def no_other_node(node: str) -> Rejected:
    """Return the refusal of what takes a second node."""
    message = f"there is no other node that takes shards: {node} must keep its own"
    return Rejected(message, code=Code.NO_OTHER_NODE, field="nodeId")
