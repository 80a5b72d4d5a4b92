"""One consumer for all partitions of a source: a thread that takes what comes, and the event loop.

    thread      what was asked for -> consume (without Python's lock) -> hand over -> wait for room
    event loop  each partition's reader takes its own

The thread alone touches the consumer: in confluent-kafka 2.16 a call from another one, even for
what is cached, waits for ever once it meets one that consumes.

Partitions are assigned by hand, at offsets of ours: there is no group to rebalance, and a killed
process costs its successor no session time-out.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from queue import Empty, SimpleQueue

import structlog
from confluent_kafka import KafkaException, TopicPartition

from dataflow.connect import Unavailable
from dataflow.connectors.kafka import way
from dataflow.connectors.kafka.calls import Calls
from dataflow.connectors.kafka.errors import Heard
from dataflow.connectors.kafka.fetched import Fetched, Partition, Wanted, nothing

log = structlog.get_logger()

WAITING_BYTES = 32 << 20
"""Of records that nobody has taken; beyond it nothing is consumed."""

FETCH_WAIT_MS = 100
"""How long brokers keep a request that finds nothing: what is assigned meanwhile waits for it."""

FETCHED_KIB = 16 << 10
"""Of records that the client fetches ahead."""

FETCH_BYTES = 4 << 20
"""Of a partition's records in one answer."""

FULL_WAIT_MS = 5
"""How long a partition is not asked for once so much has been fetched. By default it is a second,
in which all of that is used up: 255,000 records a second became 650,000 by this alone."""

CONSUME_MAX, CONSUME_MIN = 40_000, 50
"""Records at once; as many as make 8 MiB, by the size of the last ones."""

CONSUME_BYTES = 8 << 20
CONSUME_S = 0.1
"""How long records gather where fewer come."""

STOP_S = 10.0

QUIET_S = 5.0
"""After which a reader hears that nothing has come."""


@dataclass(slots=True, eq=False)
class _Queue:
    """What has come of one partition."""

    fetched: deque[Fetched] = field(default_factory=deque)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    is_read: bool = True
    """Somebody is there to take what comes."""


class Consuming:
    """Reads partitions; ``close`` ends it."""

    def __init__(self, settings: Mapping[str, object], heard: Heard, wanted: Wanted) -> None:
        self._fetching = way.BEST.fetching(
            {
                **settings,
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "enable.partition.eof": True,
                "queued.max.messages.kbytes": FETCHED_KIB,
                "fetch.queue.backoff.ms": FULL_WAIT_MS,
                "fetch.wait.max.ms": FETCH_WAIT_MS,
                "fetch.message.max.bytes": FETCH_BYTES,
                "max.poll.interval.ms": 86_400_000,
                "error_cb": heard,
            },
            wanted,
        )
        self._consumer = self._fetching.consumer
        self._loop = asyncio.get_running_loop()
        self._queues: dict[Partition, _Queue] = {}
        """Of what is assigned. The thread's own: what an earlier reader of a partition had asked
        for never reaches a later one."""
        self._read: set[_Queue] = set()
        """Those that somebody waits for; the event loop's own."""
        self._waiting = 0
        self._room = threading.Condition()
        self.ends: Mapping[Partition, int] = {}
        """The offset behind the last record of what is read, as last heard."""
        self._failure: BaseException | None = None
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._asked: SimpleQueue[Callable[[], object]] = SimpleQueue()

    async def read(self, partition: Partition, offset: int) -> AsyncGenerator[Fetched, None]:
        """Yield the records of a partition from an offset on, and its errors.

        Where nothing comes for long, nothing is yielded: neither records nor errors.

        Raises:
            KafkaException: the client has failed for good.
        """
        queue = _Queue()
        self._read.add(queue)
        self._ask(partial(self._assign, partition, offset, queue))
        self._start()
        try:
            while True:
                while not queue.fetched:
                    if self._failure is not None:
                        raise self._failure
                    queue.came.clear()
                    try:
                        async with asyncio.timeout(QUIET_S):
                            await queue.came.wait()
                    except TimeoutError:
                        yield nothing(partition)
                yield queue.fetched[0]
                self._took(queue.fetched.popleft())  # AFTER it was taken: until then it waits.
        finally:
            queue.is_read = False
            self._read.discard(queue)
            for fetched in queue.fetched:
                self._took(fetched)
            self._ask(partial(self._unassign, partition))

    def committed(self, partition: Partition, offset: int) -> None:
        """Have the group told, some time, how far a partition has been read."""
        self._ask(partial(self._commit, partition, offset))

    def _ask(self, call: Callable[[], object]) -> None:
        self._asked.put(call)
        with self._room:
            self._room.notify()

    def _took(self, fetched: Fetched) -> None:
        with self._room:
            self._waiting -= fetched.size
            self._room.notify()

    async def close(self) -> None:
        """Stop; a driver that does not is left behind."""
        with self._room:
            self._stopping = True
            self._room.notify()
        with suppress(Unavailable, KafkaException):
            await Calls("kafka-source-end").make(self._end, STOP_S, "closing a consumer")

    def _end(self) -> None:
        if self._thread is not None:
            self._thread.join()
        self._fetching.close()

    # --- the thread ------------------------------------------------------------------------------

    def _start(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._consume, name="kafka-source", daemon=True)
            self._thread.start()

    def _consume(self) -> None:
        count = CONSUME_MIN
        try:
            while self._has_room():
                self._do_asked()
                self.ends = {partition: self._end_of(partition) for partition in self._queues}
                found = self._fetching.fetch(count, CONSUME_S)
                if not found:
                    continue
                size = sum(fetched.size for fetched in found)
                average = max(1, size // max(1, sum(map(len, found))))
                count = max(CONSUME_MIN, min(CONSUME_MAX, CONSUME_BYTES // average))
                with self._room:
                    self._waiting += size
                queues = [(self._queues.get(fetched.partition), fetched) for fetched in found]
                self._loop.call_soon_threadsafe(self._deliver, queues)
        except BaseException as error:  # noqa: BLE001 - whoever reads must hear of it
            self._tell(error)

    def _do_asked(self) -> None:
        with suppress(Empty):
            while True:
                call = self._asked.get_nowait()
                call()

    def _end_of(self, partition: Partition) -> int:
        where = TopicPartition(partition.topic, partition.number)
        return self._consumer.get_watermark_offsets(where, cached=True)[1]

    def _commit(self, partition: Partition, offset: int) -> None:
        where = TopicPartition(partition.topic, partition.number, offset)
        try:
            self._consumer.commit(offsets=[where], asynchronous=True)
        except KafkaException as error:
            log.info("group not told", partition=str(partition), why=str(error))

    def _assign(self, partition: Partition, offset: int, queue: _Queue) -> None:
        self._queues[partition] = queue
        where = TopicPartition(partition.topic, partition.number, offset)
        self._fetching.expect(partition)
        self._consumer.incremental_assign([where])

    def _unassign(self, partition: Partition) -> None:
        del self._queues[partition]
        where = TopicPartition(partition.topic, partition.number)
        self._consumer.incremental_unassign([where])

    def _tell(self, error: BaseException) -> None:
        try:
            self._loop.call_soon_threadsafe(self._fail, error)
        except RuntimeError:
            return  # The loop is gone, and with it everyone who could be told.

    def _has_room(self) -> bool:
        """Wait until there is room; tells whether to go on."""
        with self._room:
            self._room.wait_for(lambda: self._stopping or self._waiting < WAITING_BYTES)
            return not self._stopping

    # --- the event loop --------------------------------------------------------------------------

    def _deliver(self, found: Sequence[tuple[_Queue | None, Fetched]]) -> None:
        for queue, fetched in found:
            if queue is None or not queue.is_read:
                self._took(fetched)
                continue
            queue.fetched.append(fetched)
            queue.came.set()

    def _fail(self, error: BaseException) -> None:
        self._failure = error
        for queue in self._read:
            queue.came.set()
