"""Which partitions there are, and where they begin and end; every call blocks."""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import Future

import structlog
from confluent_kafka import (
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient, TopicDescription

from dataflow.connect import Rejected
from dataflow.connectors.kafka.errors import error_of
from dataflow.connectors.kafka.fetched import Partition
from dataflow.connectors.kafka.source_spec import KafkaSourceOptions
from dataflow.connectors.kafka.topics import KNOWN_EVERY_S, KNOWN_TRIES

log = structlog.get_logger()


NO_ID = "A" * 22
"""What brokers before 2.8 call every topic's id: 16 bytes of zero."""


class Listing:
    """Asks the brokers what the options mean now, with clients of its own that read nothing."""

    def __init__(
        self, admin: AdminClient, consumer: Consumer, options: KafkaSourceOptions, timeout_s: float
    ) -> None:
        self._admin = admin
        self._consumer = consumer
        self._options = options
        self._timeout_s = timeout_s

    def partitions(self) -> Mapping[Partition, str]:
        """Return the partitions of all topics that are read, in order, each with its topic's id.

        Raises:
            KafkaException: the brokers do not answer, or refuse.
            Rejected: a topic that is named is not there.
        """
        names: Sequence[str] = self._options.topics
        if not names:
            pattern = re.compile(self._options.topic_pattern)
            there = self._admin.list_topics(timeout=self._timeout_s).topics
            names = sorted(name for name in there if pattern.fullmatch(name))
        return self._of(names)

    def _of(self, names: Sequence[str]) -> Mapping[Partition, str]:
        """Return the partitions of topics; one that is named may have been made just now."""
        for _ in range(KNOWN_TRIES - 1):
            try:
                return self._described_all(names)
            except Rejected:
                time.sleep(KNOWN_EVERY_S)
        return self._described_all(names)

    def _described_all(self, names: Sequence[str]) -> Mapping[Partition, str]:
        if not names:
            return {}
        asked = self._admin.describe_topics(
            TopicCollection(list(names)), request_timeout=self._timeout_s
        )
        return {
            Partition(name, number): topic_id
            for name in names
            for topic_id, numbers in [self._described(name, asked[name])]
            for number in numbers
        }

    def _described(self, name: str, asked: Future[TopicDescription]) -> tuple[str, Sequence[int]]:
        """Return a topic's id, and the numbers of its partitions."""
        try:
            found = asked.result()
        except KafkaException as raised:
            if error_of(raised).code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
            if not self._options.topics:
                return "", ()  # Deleted between two answers.
            message = f"there is no topic {name!r}; create it, or mend its name"
            raise Rejected(message, field="options.topics") from raised
        topic_id = str(found.topic_id)
        numbers = sorted(partition.id for partition in found.partitions)
        return "" if topic_id == NO_ID else topic_id, numbers

    def listen(self) -> None:
        """Let the client tell what it has heard; it does so within its calls alone."""
        self._consumer.poll(0)
        self._admin.poll(0)

    def close(self) -> None:
        """Let the connections go."""
        self._consumer.close()

    def begins(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        """Return the offset at which each partition begins, as the options say."""
        match self._options.start:
            case "earliest":
                return {one: self.watermarks(one)[0] for one in partitions}
            case "latest":
                return self.ends(partitions)
            case "timestamp":
                return self._at_time(partitions)
            case "committed":
                return self._committed(partitions)

    def ends(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        """Return the offset behind the last record of each partition."""
        return {one: self.watermarks(one)[1] for one in partitions}

    def watermarks(self, partition: Partition) -> tuple[int, int]:
        """Return the offsets of the first record, and behind the last one."""
        where = TopicPartition(partition.topic, partition.number)
        return self._consumer.get_watermark_offsets(where, self._timeout_s)

    def _at_time(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        start = self._options.start_time
        moment = round(start.timestamp() * 1000) if start else 0
        asked = [TopicPartition(one.topic, one.number, moment) for one in partitions]
        return self._resolved(self._consumer.offsets_for_times(asked, self._timeout_s))

    def _committed(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        asked = [TopicPartition(one.topic, one.number) for one in partitions]
        return self._resolved(self._consumer.committed(asked, self._timeout_s))

    def _resolved(self, found: Sequence[TopicPartition]) -> Mapping[Partition, int]:
        """Return offsets as numbers: behind the last record, and before the first one, too."""
        resolved: dict[Partition, int] = {}
        for one in found:
            if one.error is not None:
                raise KafkaException(one.error)
            partition = Partition(one.topic, one.partition)
            low, high = self.watermarks(partition)
            if one.offset < 0:
                resolved[partition] = high if one.offset == OFFSET_END else low
            else:
                is_there = low <= one.offset <= high
                resolved[partition] = (
                    one.offset if is_there else self.instead(partition, one.offset)
                )
        return resolved

    def instead(self, partition: Partition, offset: int) -> int:
        """Return where to go on when the record at an offset is gone.

        Raises:
            Rejected: that is for somebody to decide.
        """
        low, high = self.watermarks(partition)
        holds = f"holds {low} to {high - 1}" if low < high else "is empty"
        why = f"the next record, at offset {offset}, was deleted by retention: the topic {holds}"
        return self._elsewhere(partition, why)

    def anew(self, partition: Partition, offset: int) -> int:
        """Return where to go on in a topic that is another one than was read up to an offset.

        Raises:
            Rejected: that is for somebody to decide.
        """
        why = f"the topic was read up to offset {offset}, then deleted and made anew"
        return self._elsewhere(partition, why)

    def _elsewhere(self, partition: Partition, why: str) -> int:
        name = f"{partition.topic}/{partition.number}"
        if self._options.on_missing_offset == "fail":
            raise Rejected(
                f"{name}: {why}. Set options.onMissingOffset to go on without what is gone, or"
                " replay the pipeline",
                field="options.onMissingOffset",
                code="SOURCE_CHANGED",
            )
        low, high = self.watermarks(partition)
        instead = low if self._options.on_missing_offset == "earliest" else high
        log.warning("records are gone", partition=name, why=why, instead=instead)
        return instead
