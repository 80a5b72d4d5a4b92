"""What the event bus needs of a topic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from dataflow.core.ids import Offset, ShardId
from dataflow.journal.contract import Hash


@dataclass(frozen=True, slots=True)
class Place:
    """Up to where a shard's log has been published: a record, and its hash.

    A log that holds another record there is another log.
    """

    offset: Offset
    hash: Hash


@dataclass(frozen=True, slots=True)
class Message:
    """One event as it is published."""

    key: bytes
    """The pipeline: a topic keeps the order of one key."""
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


class Topic(Protocol):
    """Where events are published. Calls do not overlap.

    All methods raise ``Unavailable`` when the brokers do not answer in time, or refuse.
    """

    async def places(self) -> Mapping[ShardId, Place]:
        """Return the places of all shards, by whichever node they were published."""
        ...

    async def publish(self, messages: Sequence[Message], places: Mapping[ShardId, Place]) -> None:
        """Publish messages in their order together with places, all or none."""
        ...

    async def close(self) -> None:
        """Let the connections go."""
        ...
