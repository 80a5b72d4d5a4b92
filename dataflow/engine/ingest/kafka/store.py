"""A log as its writer has it: one transaction a group of batches.

    open    make the topic -> take the transactional id -> read the index, in this order
    append  begin -> rows -> what the index says of them -> commit

Whatever goes wrong between begin and commit is either taken back, or the store is lost: its next
``open`` ends what was begun, and reads which way it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from threading import Lock

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer

from dataflow.core.errors import Code, Unavailable
from dataflow.engine.ingest import frame
from dataflow.engine.ingest.contract import Lost
from dataflow.engine.ingest.frame import Batch
from dataflow.engine.ingest.kafka.brokers import INDEX, ROWS, Brokers
from dataflow.engine.ingest.kafka.following import Following, first_record
from dataflow.engine.ingest.kafka.index import Index
from dataflow.engine.ingest.kafka.parts import parts
from dataflow.engine.ingest.window import Taken, Window

SALT = 0
"""Of frames; the checksum tells whether parts belong together, brokers check their bytes."""

INIT_S, COMMIT_S = 20.0, 10.0
"""To end what the last writer had begun, and to commit. A caller waits 30 s."""

WHOLE_EVERY_BATCHES, WHOLE_EVERY_GROUPS = 10_000, 1_000
"""What is read at an open at most: some 4 MB, in well under a second."""


class KafkaStore:
    """Implements ``contract.LogStore``."""

    def __init__(
        self, brokers: Brokers, topic: str, probe: Callable[[str], None] = lambda _: None
    ) -> None:
        self._brokers = brokers
        self._topic = topic
        self._probe = probe
        self._turn = Lock()
        self._producer: Producer | None = None
        self._looking: Consumer | None = None
        self._index = Index()
        self._batches = self._groups = 0
        """Since the index was last written as a whole."""

    @property
    def window(self) -> Window:
        """See ``LogStore``."""
        return self._index.window

    @property
    def schema(self) -> bytes | None:
        """See ``LogStore``."""
        return self._index.schema

    def bytes_from(self, offset: int) -> int:
        """See ``LogStore``."""
        return self._index.bytes_from(offset)

    def open(self) -> None:
        """See ``LogStore``."""
        with self._turn:
            self._let_go()
            self._brokers.make(self._topic)
            producer = self._brokers.writer(self._topic)
            try:
                producer.init_transactions(INIT_S)
            except KafkaException as raised:
                raise self._brokers.unavailable(
                    f"taking over {self._topic}", raised.args[0]
                ) from raised
            # AFTER that: nobody commits any more what is not in the index.
            self._index = self._read()
            self._producer = producer
            self._batches, self._groups = WHOLE_EVERY_BATCHES, 0

    def _read(self) -> Index:
        following = Following(self._brokers, self._topic)
        try:
            index = following.read_to(self._brokers.made(self._topic, INDEX).end)
        finally:
            following.close()
        index.offset = self._brokers.made(self._topic, ROWS).end
        return index

    def append(self, batches: Sequence[Batch], schema: bytes) -> Sequence[Taken]:
        """See ``LogStore``."""
        with self._turn:
            producer = self._producer
            if producer is None:
                raise Lost("the ingest log has to be opened again; push again")
            try:
                return self._append(producer, batches, schema)
            except (KafkaException, BufferError) as raised:
                raise self._failed(producer, raised) from raised

    def _append(
        self, producer: Producer, batches: Sequence[Batch], schema: bytes
    ) -> Sequence[Taken]:
        index, taken, size, offset = self._index, [], 0, self._index.end
        placed = _Placed()
        producer.begin_transaction()
        whole = index.schema is None or (
            self._batches >= WHOLE_EVERY_BATCHES or self._groups >= WHOLE_EVERY_GROUPS
        )
        begun = _Placed()
        everything = index.whole(index.schema or schema) if whole else b""
        if whole:
            self._give(producer, INDEX, parts(index.end, everything), begun)
        for batch in batches:
            data = b"".join(frame.encode(batch, offset, 0, SALT))
            self._give(producer, ROWS, parts(offset, data), placed)
            taken.append(Taken(batch.digest, offset, batch.records))
            offset, size = offset + batch.records, size + len(data)
        ids = [batch.batch_id for batch in batches]
        group = index.group(dict(zip(ids, taken, strict=True)), size)
        self._give(producer, INDEX, parts(index.end, group), _Placed())
        self._probe("ingest.before_commit")
        producer.commit_transaction(COMMIT_S)
        self._probe("ingest.committed")
        # AFTER the commit: readers and answers may now see it.
        if whole:
            index.apply(everything)
            self._batches = self._groups = 0
            if begun.first >= 0:  # Kafka takes -1 for all there is.
                with suppress(Unavailable):  # The next whole one says the same.
                    self._brokers.forget(self._topic, INDEX, begun.first)
        index.apply(group)
        index.offset = placed.next
        self._batches, self._groups = self._batches + len(batches), self._groups + 1
        return taken

    def _give(
        self,
        producer: Producer,
        partition: int,
        messages: Iterable[tuple[bytes, bytes]],
        placed: _Placed,
    ) -> None:
        for key, value in messages:
            producer.produce(
                self._topic, value, key, partition=partition, on_delivery=placed.delivered
            )
        producer.poll(0)

    def _failed(self, producer: Producer, raised: KafkaException | BufferError) -> Unavailable:
        """Take a group back where that is possible for certain."""
        error = raised.args[0] if isinstance(raised, KafkaException) else None
        if error is None or (error.txn_requires_abort() and not error.fatal()):
            with suppress(KafkaException):
                producer.abort_transaction(COMMIT_S)
                return self._brokers.unavailable(f"writing {self._topic}", error)
        self._let_go()
        what = self._brokers.unavailable(f"writing {self._topic}", error)
        return Lost(f"{what.message}; push the batch again", code=Code.OUTCOME_UNKNOWN)

    def forgotten(self) -> int:
        """See ``LogStore``."""
        with self._turn:
            if self._looking is None:
                self._looking = self._brokers.reader(tail=False)
            first = first_record(self._brokers, self._looking, self._topic)
            if first is None:
                return self._index.end
            self._index.forget(first)
            return first

    def close(self) -> None:
        """See ``LogStore``."""
        with self._turn:
            self._let_go()
            if self._looking is not None:
                self._looking.close()
                self._looking = None

    def _let_go(self) -> None:
        if self._producer is not None:
            self._producer.purge()
            self._producer = None


class _Placed:
    """Where the brokers have put what was given to them."""

    def __init__(self) -> None:
        self.first = -1
        self.next = 0

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            offset = message.offset() or 0
            self.first = offset if self.first < 0 else self.first
            self.next = offset + 1
