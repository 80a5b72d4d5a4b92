"""The topic of the event bus in Kafka, and beside it a compacted one that holds the places."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from dataflow.core.errors import Code, Unavailable
from dataflow.core.ids import Offset, ShardId
from dataflow.journal.contract import Hash
from dataflow.views.bus.contract import Message, Place

ANSWER_S = 30.0
"""For whatever the brokers are asked; a transaction of a predecessor may have to end first."""

CLOSE_S = 5.0

REPLICAS = 3
"""The driver cannot leave it to the brokers."""

TRANSACTION_MS = 15_000
"""A node that is gone hides events from readers for no longer; less than ``ANSWER_S``."""

MESSAGE_BYTES_MAX = 4 << 20
"""An event holds a spec, of 1 MiB at most, and JSON escapes some of it."""

BATCH_BYTES = 512 << 10

PLACES = ".places"
"""What the name of the topic of places adds to that of the events."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Login:
    """How the brokers are reached; the names of protocols and mechanisms are Kafka's."""

    brokers: Sequence[str]
    client_id: str
    protocol: str = "PLAINTEXT"
    mechanism: str = "SCRAM-SHA-512"
    username: str = ""
    password: str = ""
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""

    def settings(self) -> dict[str, object]:
        """Return what each client is told."""
        given: dict[str, object] = {
            "bootstrap_servers": list(self.brokers),
            "client_id": self.client_id,
            "security_protocol": self.protocol,
            "request_timeout_ms": 10_000,
        }
        if self.protocol.endswith("SSL"):
            context = ssl.create_default_context(cafile=self.ca_file or None)
            if self.certificate_file:
                context.load_cert_chain(self.certificate_file, self.key_file)
            given["ssl_context"] = context
        if self.protocol.startswith("SASL"):
            given["sasl_mechanism"] = self.mechanism
            given["sasl_plain_username"] = self.username
            given["sasl_plain_password"] = self.password
        return given


@dataclass(frozen=True, slots=True)
class Names:
    """What is written to, by whom, and how it is made where it is not there."""

    topic: str
    transactional_id: str
    """Of this node alone: whoever takes it ends what the last one had begun."""
    partitions: int = 6
    replicas: int = 0
    """0 for ``REPLICAS``, or as many as there are brokers if fewer."""


class KafkaTopic:
    """Implements ``contract.Topic``."""

    def __init__(self, login: Login, names: Names) -> None:
        self._login = login
        self._names = names
        self._places = names.topic + PLACES
        self._producer: AIOKafkaProducer | None = None

    async def publish(self, messages: Sequence[Message], places: Mapping[ShardId, Place]) -> None:
        """See ``Topic``."""
        await self._bounded(self._publish(messages, places), "publishing")

    async def _publish(self, messages: Sequence[Message], places: Mapping[ShardId, Place]) -> None:
        producer = await self._begun()
        await producer.begin_transaction()
        sent = [
            await producer.send(self._names.topic, one.value, one.key, headers=list(one.headers))
            for one in messages
        ]
        for shard, place in places.items():
            key, value = f"{shard}".encode(), [place.offset, place.hash.hex()]
            sent.append(await producer.send(self._places, json.dumps(value).encode(), key))
        for one in sent:
            await one
        await producer.commit_transaction()

    async def places(self) -> Mapping[ShardId, Place]:
        """See ``Topic``."""
        return await self._bounded(self._read_places(), "reading the places")

    async def _read_places(self) -> Mapping[ShardId, Place]:
        """Read up to a mark of this node's own: what is before it has been decided."""
        producer = await self._begun()
        await producer.begin_transaction()
        mark = self._names.transactional_id.encode()
        end = await (await producer.send(self._places, b"", mark))
        await producer.commit_transaction()
        consumer = AIOKafkaConsumer(
            self._places,
            **self._login.settings(),
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
        )
        found: dict[ShardId, Place] = {}
        try:
            await consumer.start()
            async for message in consumer:
                if message.value:
                    offset, digest = json.loads(message.value)
                    place = Place(Offset(offset), Hash(bytes.fromhex(digest)))
                    found[ShardId(int(message.key))] = place
                if message.offset >= end.offset:
                    break
        finally:
            await consumer.stop()
        return found

    async def close(self) -> None:
        """See ``Topic``."""
        producer, self._producer = self._producer, None
        if producer is not None:
            with suppress(KafkaError, OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await producer.stop()

    async def _begun(self) -> AIOKafkaProducer:
        if self._producer is not None:
            return self._producer
        await self._make()
        self._producer = AIOKafkaProducer(
            **self._login.settings(),
            transactional_id=self._names.transactional_id,
            transaction_timeout_ms=TRANSACTION_MS,
            acks="all",
            max_request_size=MESSAGE_BYTES_MAX,
            max_batch_size=BATCH_BYTES,
        )
        await self._producer.start()
        return self._producer

    async def _make(self) -> None:
        """Make both topics where they are not there; one that is there is used as it is."""
        names = self._names
        large = {"max.message.bytes": str(MESSAGE_BYTES_MAX)}
        short = {
            "cleanup.policy": "compact",
            "segment.bytes": str(1 << 20),
            "min.cleanable.dirty.ratio": "0.1",
        }
        admin = AIOKafkaAdminClient(**self._login.settings())
        try:
            await admin.start()
            brokers = (await admin.describe_cluster())["brokers"]
            replicas = names.replicas or min(REPLICAS, len(brokers))
            for new in (
                NewTopic(names.topic, names.partitions, replicas, topic_configs=large),
                NewTopic(self._places, 1, replicas, topic_configs=short),
            ):
                answer = await admin.create_topics([new])
                for _, code, *why in answer.topic_errors:
                    error = for_code(code)
                    if code and error is not TopicAlreadyExistsError:
                        raise error(f"{new.name}: {why[0] if why else ''}")
        finally:
            await admin.close()

    async def _bounded(self, work: Awaitable[T], what: str) -> T:
        """Await an answer; after any failure, whoever it was, the producer is made anew."""
        try:
            async with asyncio.timeout(ANSWER_S):
                return await work
        except Exception as error:  # what else the driver raises must not end a node
            await self.close()
            why = str(error) or type(error).__name__
            message = f"Kafka, {what} (topic {self._names.topic}): {why}"
            raise Unavailable(message, code=Code.STORAGE) from error
