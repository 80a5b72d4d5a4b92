"""Reading a log's partitions. Everything here blocks but ``Consumer.consume`` without a wait."""

from __future__ import annotations

import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

from dataflow.engine.ingest.kafka.brokers import AGAIN_S, ANSWER_S, INDEX, ROWS, Brokers
from dataflow.engine.ingest.kafka.index import Index
from dataflow.engine.ingest.kafka.parts import Joining, number_of

AT_ONCE = 500
WAIT_S = 0.1
SETTLED_S = 3.0
"""For a decided transaction to show: a thousand times what it takes where all brokers are there."""

LOOKS_MAX = 50
"""Five seconds for a record to come that is there."""


class Following:
    """An index as far as it has been read; ``catch_up`` reads what has come since."""

    def __init__(self, brokers: Brokers, topic: str) -> None:
        self._brokers = brokers
        self._topic = topic
        self._consumer = brokers.reader(tail=False)
        self._joining = Joining()
        self._at = -1
        self.index = Index()
        self.is_settled = True
        """Whether the last ``settle`` met nothing that is undecided."""

    def settle(self) -> Index:
        """Return the index with all that has been acknowledged before this call.

        A commit is answered when it is decided, and shows some milliseconds later. What is not
        decided for longer has not been acknowledged: its writer is gone.

        Raises:
            Unavailable: the brokers do not answer.
            Corrupted: the index is damaged.
        """
        self.is_settled = True
        index, clock = self.catch_up(), self._brokers.clock
        if self._at < 0:
            return index
        high = self._brokers.high(self._topic, INDEX)
        until = clock.steady() + SETTLED_S
        while self._at < high and clock.steady() < until:
            time.sleep(AGAIN_S)
            index = self.catch_up()
        self.is_settled = self._at >= high
        return index

    def catch_up(self) -> Index:
        """Return the index with all that shows by now.

        Raises:
            Unavailable: the brokers do not answer.
            Corrupted: the index is damaged.
        """
        span = self._brokers.span(self._topic, INDEX)
        return self.index if span is None else self.read_to(span.end)

    def read_to(self, end: int) -> Index:
        """Return the index with all below an offset; raises as ``catch_up``."""
        if self._at >= end:
            return self.index
        begin = OFFSET_BEGINNING if self._at < 0 else self._at
        self._consumer.assign([TopicPartition(self._topic, INDEX, begin)])
        self._at = max(self._at, 0)
        until = self._brokers.clock.steady() + ANSWER_S
        while self._at < end:
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

    What was acknowledged just now may not show yet, and none is nothing to be wrong about: whoever
    hears so passes over records, or makes room for others.

    Raises:
        Unavailable: the brokers do not answer, or something is not decided in time.
    """
    until = brokers.clock.steady() + ANSWER_S
    while brokers.clock.steady() < until:
        span = brokers.span(topic, ROWS)
        if span is None:
            return None
        if span.begin < span.end:
            consumer.assign([TopicPartition(topic, ROWS, span.begin)])
            message = _next(consumer)
            consumer.unassign()
            if message is None:
                break
            if message.error() is None:
                return number_of(message)
        if brokers.high(topic, ROWS) <= span.end:  # AFTER the span: all of it was decided.
            return None
        time.sleep(AGAIN_S)
    raise brokers.unavailable(f"reading {topic}", None)


def _next(consumer: Consumer) -> Message | None:
    """Return the next record, or what says that there is none; None if neither comes."""
    for _ in range(LOOKS_MAX):
        for message in consumer.consume(1, WAIT_S):
            error = message.error()
            if error is None or error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - its name
                return message
    return None
