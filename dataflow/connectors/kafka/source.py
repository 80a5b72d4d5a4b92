"""The ``kafka`` source: a split is a partition, a position its next offset."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import Any, TypeVar

import structlog
from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaException,
)
from confluent_kafka.admin import AdminClient

from dataflow.connect import (
    Chunk,
    Context,
    Rejected,
    Source,
    SourceStep,
    Split,
    Unavailable,
    Waiting,
)
from dataflow.connect.columns import PinnedColumn
from dataflow.connectors.formats.parse import rejected
from dataflow.connectors.kafka.calls import Calls
from dataflow.connectors.kafka.connection import settings
from dataflow.connectors.kafka.consuming import Consuming
from dataflow.connectors.kafka.decode import Decoder, wanted_by
from dataflow.connectors.kafka.errors import Heard, translated
from dataflow.connectors.kafka.fetched import Fetched, Partition, Wanted, data_bytes
from dataflow.connectors.kafka.listing import Listing
from dataflow.connectors.kafka.messages import Missing, parts, require_no_error
from dataflow.connectors.kafka.registry.reading import reading_of
from dataflow.connectors.kafka.sampling import columns_of, sample
from dataflow.connectors.kafka.source_spec import (
    KafkaPinned,
    KafkaPosition,
    KafkaSourceOptions,
)

log = structlog.get_logger()

ANSWER_S = 20.0
"""How long one request waits for the brokers; a broker that starts again takes ten."""

CALL_S_MAX = 30.0
"""After which a call is given up that should have given up itself."""

ROWS_MAX = 30_000
"""Of a batch, unless ``batchSize`` says otherwise."""

Result = TypeVar("Result")


class KafkaSource(Source[KafkaPosition, KafkaPinned]):
    """Reads the partitions of some topics, all at once."""

    at_once = True

    def __init__(self, step: SourceStep, options: KafkaSourceOptions, context: Context) -> None:
        self.bounded = options.stop_at_end
        self._options = options
        self._rows_max = step.batch_size or ROWS_MAX
        self._given = given = settings(step.connection_string, options.security, context)
        self._what = f"Kafka at {given['bootstrap.servers']}"
        self._group = options.group or f"{options.id_prefix}.{context.pipeline}.{context.step}"
        self._settings = {
            **given,
            "group.id": self._group,
            "isolation.level": f"read_{options.isolation}",
        }
        self._heard = Heard()
        self._calls = Calls("kafka-source-asking")
        self._consuming: Consuming | None = None
        self._listing: Listing | None = None
        self._decoder: Decoder | None = None
        self._registered = reading_of(options.registry, options.format, context)
        self._pinned = KafkaPinned(columns=())
        self._known: Mapping[Partition, str] = {}
        """What is read, and its topic's id."""
        self._next: dict[Partition, int] = {}
        """The offset each partition has been read up to."""
        self._ends: Mapping[Partition, int] = {}
        """Where a run ends that ends."""

    async def open(self, pinned: KafkaPinned | None) -> KafkaPinned | None:
        """See ``Source``: the columns, and where each partition begins."""
        if self._consuming is None:
            self._consuming = Consuming(self._settings, self._heard, wanted_by(self._options))
            heard: dict[str, Any] = {"error_cb": self._heard}
            admin = AdminClient({**self._given, **heard})
            consumer = Consumer({**self._settings, **heard})
            self._listing = Listing(admin, consumer, self._options, ANSWER_S)
        self._known = partitions = await self._asked(self._opened[1].partitions)
        if not partitions:
            raise Waiting(f"{self._what}: no topic matches {self._options.topic_pattern!r} yet")
        if self.bounded:
            self._ends = await self._asked(partial(self._opened[1].ends, partitions))
        if pinned is None:
            begins = await self._asked(partial(self._opened[1].begins, partitions))
            named = {str(partition.split.id): at for partition, at in begins.items()}
            ids = {partition.topic: topic_id for partition, topic_id in partitions.items()}
            columns = await self._columns(begins)
            pinned = KafkaPinned(columns=columns, begins=named, topic_ids=ids)
        self._pinned = pinned
        self._decoder = Decoder(self._options, pinned, self._registered)
        self._require_apart()
        return pinned

    async def splits(self) -> Sequence[Split]:
        """See ``Source``: partitions and topics may come while it runs, and brokers be away."""
        try:
            found = await self._asked(self._opened[1].partitions)
        except Unavailable as error:
            log.info("partitions as last heard", why=str(error))
        else:
            for partition, topic_id in found.items():
                if self._known.get(partition, topic_id) != topic_id:
                    raise Unavailable(f"{self._what}: {partition.topic} has just been made anew")
            self._known = found
        known = [one for one in self._known if one in self._ends or not self.bounded]
        return [partition.split for partition in known]

    async def read(
        self, split: Split, start: KafkaPosition | None
    ) -> AsyncGenerator[Chunk[KafkaPosition], None]:
        """See ``Source``."""
        partition = Partition.of(split)
        offset = start.offset if start else self._pinned.begins.get(split.id, OFFSET_BEGINNING)
        was = start.topic_id if start else self._pinned.topic_ids.get(partition.topic, "")
        if was and was != self._known.get(partition, was):
            offset = await self._asked(partial(self._opened[1].anew, partition, offset))
        end = self._ends.get(partition) if self.bounded else None
        while True:
            try:
                async with aclosing(self._chunks(partition, offset, end)) as chunks:
                    async for chunk in chunks:
                        offset = chunk.resume_at.offset
                        yield chunk
            except Missing:
                offset = await self._asked(partial(self._opened[1].instead, partition, offset))
            else:
                return

    async def _chunks(
        self, partition: Partition, offset: int, end: int | None
    ) -> AsyncGenerator[Chunk[KafkaPosition], None]:
        """Yield what comes from an offset on; until the end, where there is one."""
        if end is not None and offset >= end:
            return
        try:
            async with aclosing(self._opened[0].read(partition, offset)) as reading:
                async for fetched in reading:
                    if fetched.is_nothing and self.bounded:
                        await self.splits()  # The driver says nothing of a topic that has gone.
                    for part, resume in parts(fetched, offset, self._rows_max):
                        offset = self._next[partition] = resume
                        yield await self._chunk(part, self._position(partition, resume))
                    require_no_error(fetched.told)
                    if end is not None and offset >= end:
                        return
        except KafkaException as raised:
            raise translated(raised, self._what, self._heard) from raised

    def _position(self, partition: Partition, offset: int) -> KafkaPosition:
        return KafkaPosition(offset=offset, topic_id=self._known.get(partition, ""))

    async def _chunk(self, fetched: Fetched, resume_at: KafkaPosition) -> Chunk[KafkaPosition]:
        if self._decoder is None:
            raise RuntimeError("open comes before anything else")
        decoded = await asyncio.to_thread(self._decoder.decode, fetched)
        return Chunk(
            decoded.batch,
            resume_at,
            rejected(decoded.bad) if decoded.bad else None,
            data_bytes(fetched.values),
        )

    async def latest(self, split: Split) -> KafkaPosition:
        """See ``Source``."""
        partition = Partition.of(split)
        ends = await self._asked(partial(self._opened[1].ends, [partition]))
        return self._position(partition, ends[partition])

    async def grown(self, split: Split, position: KafkaPosition | None) -> bool:
        """See ``Source``: records may have come since."""
        return self._ends.get(Partition.of(split), 0) > (position.offset if position else 0)

    async def gone(self, split: Split, position: KafkaPosition) -> None:
        """See ``Source``."""
        raise Rejected(
            f"{split.id}: there is no such partition any more, and it was read up to offset"
            f" {position.offset}: the topic was deleted, or is no longer named; bring it back, or"
            " replay the pipeline",
            code="SOURCE_CHANGED",
        )

    async def acknowledge(self, split: Split, position: KafkaPosition) -> None:
        """See ``Source``: the group shows how far this is; nothing depends on it."""
        self._opened[0].committed(Partition.of(split), position.offset)

    async def lag(self) -> tuple[int, int]:
        """See ``Source``: records that are in the topics and not read, as last heard."""
        if self._consuming is None:
            return -1, -1
        ends = self._consuming.ends
        return sum(max(0, ends.get(one, at) - at) for one, at in self._next.items()), -1

    async def close(self) -> None:
        """See ``Source``."""
        if self._consuming is not None:
            await self._consuming.close()
        if self._listing is not None:
            with suppress(Unavailable):
                await self._asked(self._listing.close)
        if self._registered is not None:
            self._registered.close()

    # --- opening ---------------------------------------------------------------------------------

    async def _columns(self, begins: Mapping[Partition, int]) -> tuple[PinnedColumn, ...]:
        options = self._options
        sampled: tuple[bytes, ...] = ()
        if options.format == "json" and options.other_columns == "infer":
            sampled = tuple(await self._sample(begins))
        topics = [partition.topic for partition in begins]
        columns = await asyncio.to_thread(columns_of, options, sampled, topics, self._registered)
        if not columns:
            message = "the first records have no fields; declare them in schema"
            raise Rejected(f"{self._what}: {message}", field="options.schema")
        return tuple(columns)

    async def _sample(self, begins: Mapping[Partition, int]) -> Sequence[bytes]:
        """Return the values of the first records.

        Raises:
            Waiting: there are none yet.
        """
        sampling = Consuming(self._settings, self._heard, Wanted())
        try:
            found = await sample(sampling, begins, self._options.infer_records)
        except KafkaException as raised:
            raise translated(raised, self._what, self._heard) from raised
        finally:
            await sampling.close()
        if not found:
            raise Waiting(f"{self._what}: no record yet to infer types from; or declare a schema")
        return found

    def _require_apart(self) -> None:
        beside = self._options.metadata_columns
        for column in self._pinned.columns:
            if column.name in beside:
                message = f"a field of the value is named {column.name!r}, too"
                raise Rejected(message, field="options")

    async def _asked(self, ask: Callable[[], Result]) -> Result:
        """Ask the brokers, in a thread."""

        def asking() -> Result:
            try:
                return ask()
            except KafkaException:
                self._opened[1].listen()
                raise

        try:
            answer = await self._calls.make(asking, CALL_S_MAX, self._what)
        except KafkaException as raised:
            raise translated(raised, self._what, self._heard) from raised
        self._heard.forget()
        return answer

    @property
    def _opened(self) -> tuple[Consuming, Listing]:
        if self._consuming is None or self._listing is None:
            raise RuntimeError("open comes before anything else")
        return self._consuming, self._listing


def open_source(step: SourceStep, options: KafkaSourceOptions, context: Context) -> KafkaSource:
    """Return the source of a step."""
    return KafkaSource(step, options, context)
