"""What is asked of the brokers, with an end to every wait. Everything here blocks."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from threading import Lock
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import (
    Consumer,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    ListOffsetsResultInfo,
    NewTopic,
    OffsetSpec,
    TopicDescription,
)

from dataflow.core.clock import Clock
from dataflow.core.errors import Code, Unavailable
from dataflow.core.ids import PipelineId

ROWS, INDEX = 0, 1
"""The partitions of a log."""

ANSWER_S = 10.0
"""For the brokers to answer a question; one that restarts needs some of it."""

AGAIN_S = 0.02
"""Between two attempts at what may soon succeed."""

LISTED_S = 1.0
"""A log that is younger when its pipeline is deleted stays until the shard is next taken over."""

TRANSACTION_MS = 20_000
"""Twice ``COMMIT_S``. A writer that is gone hides nothing for longer, even if nobody follows it."""

CONSUMED_KIB = 16 << 10
"""Fetched ahead, of one log."""

_UNKNOWN_TOPIC = {KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC}  # noqa: SLF001 - its name
_NO_LEADER = KafkaError._NOENT  # noqa: SLF001 - its name
"""What the client says of a topic that is being made, and of one that is not there."""

_PASSING = {
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
    KafkaError.CONCURRENT_TRANSACTIONS,
    KafkaError.REQUEST_TIMED_OUT,
    KafkaError.OFFSET_NOT_AVAILABLE,
    KafkaError._TRANSPORT,  # noqa: SLF001 - its name
}

T = TypeVar("T")


class Span(NamedTuple):
    """The offsets of a partition: of the first record, and behind the last decided one."""

    begin: int
    end: int


class Brokers:
    """The brokers of a cluster's ingest logs.

    Args:
        settings: of every client, by librdkafka's names.
        cluster: whose logs they are; several clusters may share brokers.
        clock: how long brokers are waited for.
        replicas: of each log; -1 for as many as the brokers give by themselves.
    """

    def __init__(
        self, settings: Mapping[str, str], cluster: str, clock: Clock, replicas: int = -1
    ) -> None:
        self._settings: dict[str, Any] = {**settings, "error_cb": self._hear, "log_level": 2}
        self.clock = clock
        self._cluster = cluster
        self._replicas = replicas
        self._admin: AdminClient | None = None
        self._making, self._listing = Lock(), Lock()
        self._topics: Collection[str] = ()
        self._listed_at = float("-inf")
        self._heard = ""

    def topic(self, pipeline: PipelineId) -> str:
        """Return the name of a pipeline's log, which is its writer's transactional id too."""
        return f"dataflow.{self._cluster}.ingest.{pipeline}"

    def writer(self, topic: str) -> Producer:
        """Return a producer of a log; it is nobody's until its transactions are initialised."""
        return Producer(
            {
                **self._settings,
                "transactional.id": topic,
                "transaction.timeout.ms": TRANSACTION_MS,
                "acks": "all",
                "linger.ms": 0,
            }
        )

    def reader(self, *, tail: bool) -> Consumer:
        """Return a consumer of what is decided: one that stays at the tail, or looks something up.

        What looks up is told at once that there is no more, and begins anew where records are gone.
        """
        return Consumer(
            {
                **self._settings,
                "group.id": "dataflow-ingest",  # never joined, and nothing is committed
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "auto.offset.reset": "error" if tail else "earliest",
                "queued.max.messages.kbytes": CONSUMED_KIB,
                "fetch.wait.max.ms": 500 if tail else 5,
                "fetch.error.backoff.ms": 50,
            }
        )

    def make(self, topic: str) -> None:
        """Make a log if it is not there; it forgets nothing by itself."""
        config = {"cleanup.policy": "delete", "retention.ms": "-1", "retention.bytes": "-1"}
        new = NewTopic(topic, 2, self._replicas, config=config)
        try:
            self._asked(lambda admin: admin.create_topics([new])[topic], f"making topic {topic}")
        except _Refused as refused:
            if refused.error != KafkaError.TOPIC_ALREADY_EXISTS:
                raise

    def remove(self, topic: str) -> None:
        """Delete a log, if there is one.

        A node that takes shards over asks for every pipeline that was ever deleted; most had none.
        """
        if topic not in self._listed():
            return
        try:
            self._asked(lambda admin: admin.delete_topics([topic])[topic], f"deleting {topic}")
        except _Refused as refused:
            if refused.error not in _UNKNOWN_TOPIC:
                raise

    def _listed(self) -> Collection[str]:
        """Return the names of all topics, as of ``LISTED_S`` ago at most."""
        with self._listing:
            now = self.clock.steady()
            if now - self._listed_at > LISTED_S:
                try:
                    found = self._administrator().list_topics(timeout=ANSWER_S)
                except KafkaException as raised:
                    raise self.unavailable("listing topics", raised.args[0]) from raised
                self._topics, self._listed_at = frozenset(found.topics), now
            return self._topics

    def span(self, topic: str, partition: int) -> Span | None:
        """Return what a partition holds; None where there is no such log."""
        first, last = OffsetSpec.earliest(), OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the driver's
        until = self.clock.steady() + ANSWER_S
        while True:
            try:
                begin = self._offset(topic, partition, first)
                return Span(begin, self._offset(topic, partition, last))
            except _Refused as refused:
                if refused.error in _UNKNOWN_TOPIC or not self._is_there(topic):
                    return None
                if refused.error != _NO_LEADER or self.clock.steady() > until:
                    raise
            time.sleep(AGAIN_S)

    def made(self, topic: str, partition: int) -> Span:
        """Return what a partition of a log holds that has been made.

        Whoever is asked may hear of it only now, and a log that is taken for a new one is written
        over: it is never None.
        """
        until = self.clock.steady() + ANSWER_S
        while (span := self.span(topic, partition)) is None:
            if self.clock.steady() > until:
                raise self.unavailable(f"looking for {topic}", None)
            time.sleep(AGAIN_S)
        return span

    def _is_there(self, topic: str) -> bool:
        """Tell whether there is a topic; asked for its offsets, one without says no more."""

        def ask(admin: AdminClient) -> Future[TopicDescription]:
            asked: Future[TopicDescription] = admin.describe_topics(TopicCollection([topic]))[topic]
            return asked

        try:
            self._asked(ask, f"looking for {topic}")
        except _Refused as refused:
            if refused.error in _UNKNOWN_TOPIC:
                return False
            raise
        return True

    def high(self, topic: str, partition: int) -> int:
        """Return the offset behind the last record, decided or not."""
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the driver's
        return self._offset(topic, partition, latest, IsolationLevel.READ_UNCOMMITTED)

    def _offset(
        self,
        topic: str,
        partition: int,
        which: OffsetSpec,
        isolation: IsolationLevel = IsolationLevel.READ_COMMITTED,
    ) -> int:
        where = TopicPartition(topic, partition)

        def ask(admin: AdminClient) -> Future[ListOffsetsResultInfo]:
            found = admin.list_offsets({where: which}, isolation_level=isolation)
            asked: Future[ListOffsetsResultInfo] = found[where]
            return asked

        return int(self._asked(ask, f"looking at {topic}").offset)

    def forget(self, topic: str, partition: int, below: int) -> None:
        """Delete the records below an offset."""
        where = TopicPartition(topic, partition, below)
        self._asked(lambda admin: admin.delete_records([where])[where], f"cutting {topic}")

    def unavailable(self, what: str, error: KafkaError | None) -> Unavailable:
        """Return what an error of the brokers means for whoever pushes or reads."""
        why = error.str() if error is not None else f"no answer within {ANSWER_S:g} s"
        heard = f" ({self._heard})" if self._heard and self._heard not in why else ""
        return Unavailable(f"Kafka, {what}: {why}{heard}", code=Code.STORAGE)

    def _asked(self, ask: Callable[[AdminClient], Future[T]], what: str) -> T:
        """Return an answer; ask again while that may help."""
        until = self.clock.steady() + ANSWER_S
        while True:
            try:
                return ask(self._administrator()).result(max(until - self.clock.steady(), AGAIN_S))
            except TimeoutError as late:
                raise self.unavailable(what, None) from late
            except KafkaException as raised:
                error: KafkaError = raised.args[0]
                passing = error.retriable() or error.code() in _PASSING
                if not passing or self.clock.steady() > until:
                    refused = self.unavailable(what, error)
                    raise _Refused(refused.message, error.code()) from raised
            time.sleep(AGAIN_S)

    def _administrator(self) -> AdminClient:
        with self._making:
            if self._admin is None:
                self._admin = AdminClient(self._settings)
            return self._admin

    def _hear(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - its name
            self._heard = error.str()


class _Refused(Unavailable):
    """The brokers have said no."""

    def __init__(self, message: str, error: int) -> None:
        super().__init__(message, code=Code.STORAGE)
        self.error = error
