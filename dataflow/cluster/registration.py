"""What stands under a cluster's keys: the cluster itself, its nodes, who owns which shard.

    <cluster>/meta            Meta            for ever; made by the first node
    <cluster>/nodes/<id>      Registration    under the node's lease
    <cluster>/owners/<shard>  Ownership       under the owner's lease
    <cluster>/moves/<shard>   Move            for ever; the leader's, until the shard has arrived
    <cluster>/pins/<shard>    Pin             for ever; where a person has moved a shard
    <cluster>/leader          Leader          under the leader's lease

Values are JSON, so that a person with the service's own client can read them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from dataflow.core.errors import Corrupted
from dataflow.core.ids import NodeId, ShardId
from dataflow.journal.contract import Fence

T = TypeVar("T")

HASH = "xxh64"
"""How a pipeline's id becomes a shard; a node that hashes otherwise must not join."""


@dataclass(frozen=True, slots=True)
class Meta:
    """What is fixed when a cluster is created."""

    shards: int
    hash: str = HASH
    version: int = 1
    """Of these keys and values."""


@dataclass(frozen=True, slots=True)
class Registration:
    """What a node tells of itself."""

    node: NodeId
    boot: str
    """Fresh for every lease: a node that comes back is never taken for its former self."""
    address: str
    """Where other nodes and gateways reach it."""
    joined_at: datetime
    weight: int = 1
    draining: bool = False
    """It takes no shards and gives up those it has."""
    why_draining: str = ""
    connectors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ownership:
    """Who owns a shard; ``fence`` is 0 while it is being taken up."""

    node: NodeId
    boot: str
    since: datetime
    fence: Fence = Fence(0)

    @property
    def is_serving(self) -> bool:
        """Tell whether the owner has taken the shard up."""
        return self.fence > 0


@dataclass(frozen=True, slots=True)
class Move:
    """(from the leader) A shard shall change hands."""

    source: NodeId
    target: NodeId
    cause: str
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class Pin:
    """(from a person) A shard shall stay on a node while it takes shards."""

    node: NodeId
    actor: str


@dataclass(frozen=True, slots=True)
class Leader:
    """Who paces the moves."""

    node: NodeId
    boot: str
    since: datetime


class Keys:
    """The names of one cluster's keys."""

    def __init__(self, cluster: str) -> None:
        self.prefix = f"{cluster}/"
        self.meta = f"{cluster}/meta"
        self.leader = f"{cluster}/leader"
        self.nodes = f"{cluster}/nodes/"
        self.owners = f"{cluster}/owners/"
        self.moves = f"{cluster}/moves/"
        self.pins = f"{cluster}/pins/"

    def node(self, node: NodeId) -> str:
        """Return the key of a node."""
        return f"{self.nodes}{node}"

    def owner(self, shard: ShardId) -> str:
        """Return the key of a shard's owner."""
        return f"{self.owners}{shard}"

    def move(self, shard: ShardId) -> str:
        """Return the key of a shard's move."""
        return f"{self.moves}{shard}"

    def pin(self, shard: ShardId) -> str:
        """Return the key of a shard's pin."""
        return f"{self.pins}{shard}"


def value_bytes(value: Meta | Registration | Ownership | Move | Pin | Leader) -> bytes:
    """Return a value as it is kept."""
    return _adapter(type(value)).dump_json(value)


def value_from(key: str, value: bytes, cls: type[T]) -> T:
    """Return what stands under a key.

    Raises:
        Corrupted: it is nothing that a node has written.
    """
    try:
        return _adapter(cls).validate_json(value)
    except ValidationError as error:
        raise Corrupted(f"{key} holds no {cls.__name__}: {value[:200]!r}") from error


_ADAPTERS: dict[type, TypeAdapter[object]] = {}


def _adapter(cls: type[T]) -> TypeAdapter[T]:
    found = _ADAPTERS.get(cls)
    if found is None:
        found = _ADAPTERS[cls] = TypeAdapter(cls)
    return found  # type: ignore[return-value]  # kept by the very type
