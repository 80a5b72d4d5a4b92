"""A journal that grows, and a topic: the twin in memory, or one on the machine's Kafka."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol
from uuid import uuid4

import pytest

from dataflow.core import events as e
from dataflow.core.errors import Unavailable
from dataflow.core.ids import CommandId, Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.contract import AppendId, Held, Nonce, Record, link
from dataflow.journal.memory import Memory, Store
from dataflow.views.bus import Message, Place, Topic
from dataflow.views.bus.kafka import PLACES, KafkaTopic, Login, Names
from dataflow.wire.journalled import event_bytes
from tests.integration.connectors.kafka.places import messages

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
SHARD = ShardId(3)

Shown = tuple[str, int]
"""A pipeline, and the sequence number of one of its events."""


@dataclass
class Author:
    """Writes events of two pipelines into shards, as their owner does."""

    actor: str = "ada"
    store: Store = field(default_factory=Store)
    held: dict[ShardId, Held] = field(default_factory=dict)
    sequences: dict[str, int] = field(default_factory=dict)

    @property
    def journal(self) -> Memory:
        """Return the journal as a node has it."""
        return Memory(self.store)

    async def write(self, count: int, shard: ShardId = SHARD) -> list[e.Event]:
        """Append events, and return them."""
        if shard not in self.held:
            self.held[shard] = await self.journal.acquire(shard, Nonce(f"{shard}"))
        held = self.held[shard]
        records: list[Record] = []
        events: list[e.Event] = []
        head, offset = held.head, held.offset
        for _ in range(count):
            offset = Offset(offset + 1)
            pipeline = f"p{shard}-{offset % 2}"
            self.sequences[pipeline] = self.sequences.get(pipeline, 0) + 1
            event = e.Event(
                pipeline_id=PipelineId(pipeline),
                offset=offset,
                sequence=SequenceNumber(self.sequences[pipeline]),
                time=NOON,
                actor=self.actor,
                command_id=CommandId(f"{offset}"),
                body=e.PipelineStarted(),
            )
            events.append(event)
            payload = event_bytes(event)
            head = link(head, offset, payload)
            records.append(
                Record(
                    offset=offset,
                    pipeline=event.pipeline_id,
                    sequence=event.sequence,
                    type="PipelineStarted",
                    time=NOON,
                    actor=self.actor,
                    command_id=event.command_id,
                    payload=payload,
                    hash=head,
                )
            )
        self.held[shard] = await self.journal.append(held, records, AppendId(f"{offset}"))
        return events

    @property
    def written(self) -> set[Shown]:
        """Return every event there is."""
        return {(name, n + 1) for name, last in self.sequences.items() for n in range(last)}


class Read(Protocol):
    """What readers see."""

    def topic(self, node: str = "a") -> Topic:
        """Return the topic as a node has it."""
        ...

    def shown(self) -> list[Shown]:
        """Return what is published, in the order of each pipeline."""
        ...


@dataclass
class InMemory:
    """The twin: lists, and failures on request."""

    found: list[Message] = field(default_factory=list)
    kept: dict[ShardId, Place] = field(default_factory=dict)
    failures: int = 0

    def topic(self, node: str = "a") -> Topic:
        """See ``Read``."""
        del node
        return self

    def shown(self) -> list[Shown]:
        """See ``Read``."""
        return [_shown(one.value) for one in self.found]

    async def places(self) -> Mapping[ShardId, Place]:
        """See ``Topic``."""
        return dict(self.kept)

    async def publish(self, messages: Sequence[Message], places: Mapping[ShardId, Place]) -> None:
        """See ``Topic``."""
        if self.failures:
            self.failures -= 1
            raise Unavailable("no brokers")
        self.found += messages
        self.kept.update(places)

    async def close(self) -> None:
        """See ``Topic``."""


class InKafka:
    """A topic of three partitions."""

    def __init__(self, broker: str) -> None:
        self.broker = broker
        self.name = f"events-{uuid4().hex[:12]}"

    def topic(self, node: str = "a") -> Topic:
        """See ``Read``."""
        login = Login(brokers=[self.broker], client_id=node)
        return KafkaTopic(login, Names(self.name, f"{self.name}.{node}", partitions=3))

    def shown(self) -> list[Shown]:
        """See ``Read``."""
        return [_shown(one.value() or b"") for one in messages(self.broker, self.name)]


def _shown(value: bytes) -> Shown:
    event = json.loads(value)
    return event["pipelineId"], event["sequence"]


@pytest.fixture(params=["memory", "kafka"])
def read(request: pytest.FixtureRequest) -> Read:
    """Return where events are published."""
    if request.param == "memory":
        return InMemory()
    return InKafka(request.getfixturevalue("kafka"))


@pytest.fixture
def in_kafka(kafka: str) -> InKafka:
    """Return a topic of Kafka."""
    return InKafka(kafka)


__all__ = ["PLACES", "SHARD", "Author", "InKafka", "InMemory", "Read", "Shown"]
