"""Who is there and who owns what, as of one revision: a value, made from keys and their changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from dataflow.cluster.coordination.contract import Change, Entry, Listing, Revision
from dataflow.cluster.registration import (
    Keys,
    Leader,
    Meta,
    Move,
    Ownership,
    Pin,
    Registration,
    value_from,
)
from dataflow.core.errors import Corrupted
from dataflow.core.ids import NodeId, ShardId
from dataflow.core.placement import Member, place


@dataclass(frozen=True, slots=True)
class ClusterMap:
    """The cluster at ``revision``. Never changed: what changes makes another one."""

    keys: Keys
    revision: Revision = Revision(0)
    meta: Meta | None = None
    leader: Leader | None = None
    nodes: Mapping[NodeId, Registration] = field(default_factory=dict)
    owners: Mapping[ShardId, Ownership] = field(default_factory=dict)
    moves: Mapping[ShardId, Move] = field(default_factory=dict)
    pins: Mapping[ShardId, Pin] = field(default_factory=dict)
    entries: Mapping[str, Entry] = field(default_factory=dict)
    """Each key as it stands: what a condition on it names, and the lease that it lives by."""

    @classmethod
    def of(cls, keys: Keys, listing: Listing) -> ClusterMap:
        """Return the map of a listing of all keys."""
        changes = [Change(entry.key, entry, entry.revision) for entry in listing.entries]
        return replace(cls(keys).after(changes), revision=listing.revision)

    def after(self, changes: Sequence[Change]) -> ClusterMap:
        """Return the map with some changes made."""
        parts = _Parts(self)
        for change in changes:
            parts.take(change)
        revision = max([self.revision, *(change.revision for change in changes)])
        return parts.map(revision)

    def target(self) -> Mapping[ShardId, NodeId]:
        """Return who should own each shard: the same for everybody who knows this map."""
        if self.meta is None:
            return {}
        members = {n: Member(weight=r.weight, draining=r.draining) for n, r in self.nodes.items()}
        owners = {shard: owner.node for shard, owner in self.owners.items()}
        pins = {shard: pin.node for shard, pin in self.pins.items()}
        return place(members, owners, self.meta.shards, pins)

    def heir(self, shard: ShardId, target: Mapping[ShardId, NodeId]) -> NodeId | None:
        """Return who takes a shard up that nobody owns: where it was to move, else its target."""
        move = self.moves.get(shard)
        if move is not None and self.takes_shards(move.target):
            return move.target
        return target.get(shard)

    def takes_shards(self, node: NodeId) -> bool:
        """Tell whether a node is there and does not drain."""
        registered = self.nodes.get(node)
        return registered is not None and not registered.draining

    def owner(self, shard: ShardId) -> Registration | None:
        """Return the node that owns a shard, if it is there."""
        owner = self.owners.get(shard)
        node = self.nodes.get(owner.node) if owner is not None else None
        return node if node is not None and owner is not None and node.boot == owner.boot else None

    def owned_by(self, node: NodeId) -> Sequence[ShardId]:
        """Return the shards of a node, in order."""
        return sorted(shard for shard, owner in self.owners.items() if owner.node == node)


class _Parts:
    """The parts of a map, copied when they are first changed."""

    def __init__(self, before: ClusterMap) -> None:
        self._before = before
        self._changed: dict[str, Any] = {}

    def map(self, revision: Revision) -> ClusterMap:
        return replace(self._before, revision=revision, **self._changed)

    def take(self, change: Change) -> None:
        keys, key, entry = self._before.keys, change.key, change.entry
        self._set("entries", key, entry)
        if key == keys.meta:
            self._changed["meta"] = _value(entry, Meta)
        elif key == keys.leader:
            self._changed["leader"] = _value(entry, Leader)
        elif key.startswith(keys.nodes):
            self._set("nodes", NodeId(key.removeprefix(keys.nodes)), _value(entry, Registration))
        elif key.startswith(keys.owners):
            self._set("owners", _shard(key), _value(entry, Ownership))
        elif key.startswith(keys.moves):
            self._set("moves", _shard(key), _value(entry, Move))
        elif key.startswith(keys.pins):
            self._set("pins", _shard(key), _value(entry, Pin))

    def _part(self, name: str) -> dict[Any, Any]:
        if name not in self._changed:
            self._changed[name] = dict(getattr(self._before, name))
        part: dict[Any, Any] = self._changed[name]
        return part

    def _set(self, name: str, key: NodeId | ShardId | str, value: object) -> None:
        part = self._part(name)
        if value is None:
            part.pop(key, None)
        else:
            part[key] = value


def _value(entry: Entry | None, cls: type[Any]) -> Any:  # noqa: ANN401 - one of the values
    return None if entry is None else value_from(entry.key, entry.value, cls)


def _shard(key: str) -> ShardId:
    number = key.rpartition("/")[2]
    if not number.isdecimal():
        raise Corrupted(f"{key} names no shard")
    return ShardId(int(number))
