"""Reading a log's partitions. Everything here blocks but ``Consumer.consume`` without a wait."""

from __future__ import annotations

import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from dataflow.engine.ingest.kafka.brokers import AGAIN_S, ANSWER_S, INDEX, ROWS, Brokers
from dataflow.engine.ingest.kafka.index import Index
from dataflow.engine.ingest.kafka.parts import Joining, number_of

AT_ONCE = 500
WAIT_S = 0.1


class Following:
    """An index as far as it has been read; ``catch_up`` reads what has come since."""

    def __init__(self, brokers: Brokers, topic: str) -> None:
        self._brokers = brokers
        self._topic = topic
        self._consumer = brokers.reader(tail=False)
        self._joining = Joining()
        self._at = -1
        self.index = Index()

    def settle(self) -> Index:
        """Return the index with all that has been acknowledged before this call.

        A commit is answered when it is decided, and shows some milliseconds later.

        Raises:
            Unavailable: the brokers do not answer, or something is not decided in time.
            Corrupted: the index is damaged.
        """
        index, clock = self.catch_up(), self._brokers.clock
        if self._at < 0:
            return index
        high = self._brokers.high(self._topic, INDEX)
        until = clock.steady() + ANSWER_S
        while self._at < high:
            if clock.steady() > until:
                raise self._brokers.unavailable(f"waiting for a transaction of {self._topic}", None)
            time.sleep(AGAIN_S)
            index = self.catch_up()
        return index

    def catch_up(self) -> Index:
        """Return the index with all that shows by now.

        Raises:
            Unavailable: the brokers do not answer.
            Corrupted: the index is damaged.
        """
        span = self._brokers.span(self._topic, INDEX)
        if span is None:
            return self.index
        if self._at >= span.end:
            return self.index
        begin = OFFSET_BEGINNING if self._at < 0 else self._at
        self._consumer.assign([TopicPartition(self._topic, INDEX, begin)])
        self._at = max(self._at, 0)
        until = self._brokers.clock.steady() + ANSWER_S
        while self._at < span.end:
            first = self._consumer.consume(1, WAIT_S)
            for message in (*first, *self._consumer.consume(AT_ONCE, 0)):
                until = self._brokers.clock.steady() + ANSWER_S
                self._take(message)
            if self._brokers.clock.steady() > until:
                raise self._brokers.unavailable(f"reading the index of {self._topic}", None)
        self._consumer.unassign()  # Until somebody asks, nothing is fetched.
        return self.index

    def _take(self, message: Message) -> None:
        error, offset = message.error(), message.offset() or 0
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name
                self._at = max(self._at, offset)
            return  # What passes is told by the clock.
        whole = self._joining.add(message)
        if whole is not None:
            self.index.apply(whole.data)
        self._at = offset + 1

    def close(self) -> None:
        """Let the connections go."""
        self._consumer.close()


def first_record(brokers: Brokers, consumer: Consumer, topic: str) -> int | None:
    """Return the number of the first record that a log still has; None if it has none.

    Raises:
        Unavailable: the brokers do not answer.
    """
    span = brokers.span(topic, ROWS)
    if span is None or span.begin >= span.end:
        return None
    consumer.assign([TopicPartition(topic, ROWS, span.begin)])
    until = brokers.clock.steady() + ANSWER_S
    while brokers.clock.steady() < until:
        for message in consumer.consume(1, WAIT_S):
            error = message.error()
            if error is None:
                consumer.unassign()
                return number_of(message)
            if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name
                return None
    raise brokers.unavailable(f"reading {topic}", None)
