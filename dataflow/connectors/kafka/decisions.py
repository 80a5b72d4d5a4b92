"""Where a sink's decision is: in the offsets of a group of its own, sent in the rows' transaction.

    group <idPrefix>.<pipeline>.<task>, partition 0 of the topic
        offset    the checkpoint's number, for people with a lag tool
        metadata  the run that has claimed the topic, and the decision

A pipeline that is told another topic finds its decision under the one before: the largest counts.

The brokers keep 4 KiB of metadata. A larger text is compressed, and continued in further groups,
``….1``, ``….2``: one transaction holds them all.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from confluent_kafka import Consumer, Producer, TopicPartition

from dataflow.connect import Checkpoint, Corrupted, Rejected, Run, decision_from, decision_text

METADATA_BYTES = 3 << 10
"""Of a group: the brokers' ``offset.metadata.max.bytes`` is 4,096."""

PARTS_MAX = 256
"""768 KiB, compressed: the positions of some 35,000 partitions."""


class Claimed(NamedTuple):
    """What a topic's group holds."""

    run: Run
    """The largest one that has claimed the topic."""
    decision: Checkpoint


class Decisions:
    """Reads and writes the decision of one task; every call blocks."""

    def __init__(
        self, settings: Mapping[str, str], topic: str, group: str, timeout_s: float
    ) -> None:
        self._settings = settings
        self._topic = topic
        self.group = group
        self._timeout_s = timeout_s
        self._members: dict[int, Any] = {}
        """By number of the part: what the driver calls the metadata of a group."""

    def read(self) -> Claimed | None:
        """Return what was last decided; called AFTER ``init_transactions``.

        Before it, a transaction left open looks as if nothing had ever been decided.

        Raises:
            KafkaException: the brokers do not answer.
            Corrupted: it cannot be read.
        """
        found = [self._whole(topic, first) for topic, first in self._firsts().items()]
        return max(found, key=lambda one: (one.run, one.decision.stamp), default=None)

    def _firsts(self) -> Mapping[str, str]:
        """Return the first part of each decision, by the topic under which it is.

        Not by the admin client, which could list them: librdkafka 2.16 ends the process there when
        the group's coordinator moves or has just started (it notifies the client's consumer group,
        and an admin client has none).
        """
        consumer = self._consumer(0)
        try:
            known = {*consumer.list_topics(timeout=self._timeout_s).topics, self._topic}
            found = self._committed(consumer, 0, known)
        finally:
            consumer.close()
        return {topic: metadata for topic, metadata in found.items() if metadata}

    def _whole(self, topic: str, first: str) -> Claimed:
        count, _, text = first.partition(":")
        parts = [text]
        parts += [self._part(topic, n).partition(":")[2] for n in range(1, int(count or 1))]
        return _unpacked("".join(parts), packed=bool(count))

    def put(self, producer: Producer, claimed: Claimed) -> None:
        """Have a decision committed with the open transaction.

        Raises:
            KafkaException: as ``send_offsets_to_transaction``.
            Rejected: it is too large.
        """
        text = f"{claimed.run}\n{decision_text(claimed.decision)}"
        if len(text.encode()) <= METADATA_BYTES:
            self._send(producer, 0, claimed, f":{text}")
            return
        packed = base64.b64encode(zlib.compress(text.encode())).decode()
        parts = [packed[i : i + METADATA_BYTES] for i in range(0, len(packed), METADATA_BYTES)]
        if len(parts) > PARTS_MAX:
            splits = len(claimed.decision.positions)
            raise Rejected(
                f"a decision with the positions of {splits:,} splits has {len(packed):,} bytes, and"
                f" {PARTS_MAX * METADATA_BYTES:,} at most go into groups of {self._topic}; read"
                " fewer splits with one pipeline, or set delivery to at-least-once, which keeps"
                " decisions elsewhere",
                field="options.delivery",
            )
        for number, part in enumerate(parts):
            self._send(producer, number, claimed, f"{len(parts)}:{part}")

    def _send(self, producer: Producer, number: int, claimed: Claimed, metadata: str) -> None:
        if number not in self._members:
            self._part(self._topic, number)
        offset = TopicPartition(self._topic, 0, claimed.decision.stamp.number, metadata)
        producer.send_offsets_to_transaction([offset], self._members[number], self._timeout_s)

    def _part(self, topic: str, number: int) -> str:
        """Return a part of a decision; empty where there is none."""
        consumer = self._consumer(number)
        try:
            return self._committed(consumer, number, [topic])[topic]
        finally:
            consumer.close()

    def _committed(
        self, consumer: Consumer, number: int, topics: Collection[str]
    ) -> Mapping[str, str]:
        """Return a group's metadata by topic, and keep what names the group in transactions."""
        self._members[number] = consumer.consumer_group_metadata()
        asked = [TopicPartition(topic, 0) for topic in topics]
        return {one.topic: one.metadata or "" for one in consumer.committed(asked, self._timeout_s)}

    def _consumer(self, number: int) -> Consumer:
        return Consumer(
            {
                **self._settings,
                "group.id": f"{self.group}.{number}" if number else self.group,
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
            }
        )


def _unpacked(text: str, *, packed: bool) -> Claimed:
    try:
        if packed:
            text = zlib.decompress(base64.b64decode(text, validate=True)).decode()
        run, _, decision = text.partition("\n")
        return Claimed(Run(int(run)), decision_from(decision))
    except (ValueError, zlib.error) as error:
        raise Corrupted(
            f"the group's metadata holds no decision of ours: {text[:60]!r}; is another program"
            " using the group?"
        ) from error
