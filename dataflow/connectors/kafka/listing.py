"""Which partitions there are, and where they begin and end; every call blocks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import structlog
from confluent_kafka import (
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from dataflow.connect import Rejected
from dataflow.connectors.kafka.consuming import Partition
from dataflow.connectors.kafka.source_spec import KafkaSourceOptions

log = structlog.get_logger()


class Listing:
    """Asks the brokers what the options mean now, with a consumer of its own that reads nothing."""

    def __init__(self, consumer: Consumer, options: KafkaSourceOptions, timeout_s: float) -> None:
        self._consumer = consumer
        self._options = options
        self._timeout_s = timeout_s

    def partitions(self) -> Sequence[Partition]:
        """Return the partitions of all topics that are read, in order.

        Raises:
            KafkaException: the brokers do not answer, or refuse.
            Rejected: a topic that is named is not there.
        """
        if self._options.topics:
            found = [one for topic in self._options.topics for one in self._of(topic)]
        else:
            pattern = re.compile(self._options.topic_pattern)
            topics = self._consumer.list_topics(timeout=self._timeout_s).topics
            names = sorted(name for name in topics if pattern.fullmatch(name))
            found = [
                Partition(name, number) for name in names for number in topics[name].partitions
            ]
        return found

    def _of(self, topic: str) -> Sequence[Partition]:
        found = self._consumer.list_topics(topic, self._timeout_s).topics[topic]
        if found.error is not None:
            if found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                message = f"there is no topic {topic!r}; create it, or mend its name"
                raise Rejected(message, field="options.topics")
            raise KafkaException(found.error)
        return [Partition(topic, number) for number in sorted(found.partitions)]

    def listen(self) -> None:
        """Let the client tell what it has heard; it does so within its calls alone."""
        self._consumer.poll(0)

    def close(self) -> None:
        """Let the connections go."""
        self._consumer.close()

    def begins(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
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

    def ends(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        """Return the offset behind the last record of each partition."""
        return {one: self.watermarks(one)[1] for one in partitions}

    def watermarks(self, partition: Partition) -> tuple[int, int]:
        """Return the offsets of the first record, and behind the last one."""
        where = TopicPartition(partition.topic, partition.number)
        return self._consumer.get_watermark_offsets(where, self._timeout_s)

    def _at_time(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
        start = self._options.start_time
        moment = round(start.timestamp() * 1000) if start else 0
        asked = [TopicPartition(one.topic, one.number, moment) for one in partitions]
        return self._resolved(self._consumer.offsets_for_times(asked, self._timeout_s))

    def _committed(self, partitions: Sequence[Partition]) -> Mapping[Partition, int]:
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
        name = f"{partition.topic}/{partition.number}"
        if self._options.on_missing_offset == "fail":
            holds = f"holds {low} to {high - 1}" if low < high else "is empty"
            raise Rejected(
                f"{name}: the next record, at offset {offset}, is not there: the topic {holds}."
                " Retention has deleted it, or the topic was made anew. Set"
                " options.onMissingOffset to go on without what is gone, or replay the pipeline",
                field="options.onMissingOffset",
                code="SOURCE_CHANGED",
            )
        instead = low if self._options.on_missing_offset == "earliest" else high
        log.warning("records are gone", partition=name, asked=offset, first=low, instead=instead)
        return instead
