"""A log as its source sees it, from whichever node and process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import structlog
from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from dataflow.connect import LogBatch
from dataflow.core.errors import Corrupted, Rejected, Unavailable
from dataflow.core.ids import PipelineId
from dataflow.engine.closing import to_its_end
from dataflow.engine.ingest import frame
from dataflow.engine.ingest.frame import Damaged, Frame
from dataflow.engine.ingest.kafka.brokers import ROWS, Brokers
from dataflow.engine.ingest.kafka.following import Following, first_record
from dataflow.engine.ingest.kafka.index import Index
from dataflow.engine.ingest.kafka.parts import Joining
from dataflow.engine.ingest.kafka.store import SALT

if TYPE_CHECKING:
    import pyarrow as pa

log = structlog.get_logger()

READ_BYTES = 4 << 20
"""Frames handed on at a time, unless one alone is larger; as much as a chunk of a file."""

MESSAGES_MAX = 64
"""Taken from the client at once; as large as they can be they are one batch of the largest."""

POLL_S, POLL_MAX_S = 0.005, 0.1
"""Between two looks at what has come; a look takes microseconds, and waits for nothing."""

MADE_S_MAX = 0.5
"""Between two looks for a log to which nothing was pushed."""

BOUNDS_MAX = 65_536
"""Places at which a log may be cut; beyond it the oldest are no longer remembered."""

T = TypeVar("T")


class KafkaLog:
    """Implements ``connect.Log``. Calls of one log may overlap; reading is done once at a time."""

    def __init__(self, brokers: Brokers, pipeline: PipelineId) -> None:
        self._brokers = brokers
        self._topic = brokers.topic(pipeline)
        self._following: Following | None = None
        self._turn = asyncio.Lock()
        self._bounds: deque[tuple[int, int]] = deque(maxlen=BOUNDS_MAX)
        """Records, and offsets below which only those before them stand. The event loop's alone:
        in between a look at the oldest and its removal nothing may remove another."""
        self._cut = self._below = 0

    async def read(self, start: int) -> AsyncGenerator[LogBatch, None]:
        """See ``connect.Log``."""
        index = await self._index()
        if start > index.end:
            index = await self._index(settled=True)
            self._refuse_beyond_the_end(index, start)
        self._bounds.clear()
        consumer = self._brokers.reader(tail=True)
        try:
            wait_s = POLL_S
            while (offset := await self._begin_at(index, start)) is None:
                await asyncio.sleep(wait_s)
                wait_s = min(2 * wait_s, MADE_S_MAX)
            frames = self._frames(consumer, offset, start)
            at = start
            async for found in frames:
                schema = self._known.schema or (await self._index()).schema
                if schema is None:
                    raise Corrupted(f"{self._topic}: there are records, and no schema")
                for group in _grouped(found):
                    batch = await _in_thread(partial(_rows, group, schema, at))
                    at = group[-1].next_offset
                    yield LogBatch(batch, at)
        finally:
            await _in_thread(consumer.close)
            await self._let_go()

    async def begin(self) -> int:
        """See ``connect.Log``."""
        index = await self._index()
        first = await self._first()
        return index.end if first is None else first

    async def end(self) -> int:
        """See ``connect.Log``."""
        return (await self._index(settled=True)).end

    async def behind(self, start: int) -> tuple[int, int]:
        """See ``connect.Log``; what cannot be asked is not known."""
        try:
            index = await self._index()
        except Unavailable:
            return -1, -1
        return max(index.end - start, 0), index.bytes_from(start)

    async def schema(self) -> pa.Schema | None:
        """See ``connect.Log``."""
        schema = (await self._index()).schema
        if schema is None:
            await self._let_go()  # Whoever asks will ask again, with another log.
            return None
        return await _in_thread(partial(_schema, schema))

    async def cut(self, below: int) -> None:
        """See ``connect.Log``."""
        self._below = below
        index = self._known if self._following is not None else await self._index()
        bound = index.near(below).offset
        while self._bounds and self._bounds[0][0] <= below:
            bound = max(bound, self._bounds.popleft()[1])
        if bound <= self._cut:
            return
        try:
            await _in_thread(partial(self._brokers.forget, self._topic, ROWS, bound))
            self._cut = bound
        except Unavailable as error:
            log.warning("an ingest log is not cut; the next decision cuts more", why=str(error))

    @property
    def _known(self) -> Index:
        return self._following.index if self._following is not None else Index()

    async def _index(self, *, settled: bool = False) -> Index:
        """Return the index as it shows by now, or with all that has been acknowledged."""
        async with self._turn:
            if self._following is None:
                self._following = await _in_thread(partial(Following, self._brokers, self._topic))
            following = self._following
            return await _in_thread(following.settle if settled else following.catch_up)

    async def _let_go(self) -> None:
        async with self._turn:
            following, self._following = self._following, None
            if following is not None:
                await _in_thread(following.close)

    async def _first(self) -> int | None:
        def look() -> int | None:
            consumer = self._brokers.reader(tail=False)
            try:
                return first_record(self._brokers, consumer, self._topic)
            finally:
                consumer.close()

        return await _in_thread(look)

    # --- from an offset on -----------------------------------------------------------------------

    def _refuse_beyond_the_end(self, index: Index, start: int) -> None:
        if start > index.end:
            if self._following is not None and not self._following.is_settled:
                raise Unavailable(f"{self._topic}: a transaction is not decided yet")
            raise Corrupted(
                f"{self._topic} ends before record {index.end}, and the pipeline has read to record"
                f" {start}; restore the topic from a backup"
            )

    async def _begin_at(self, index: Index, start: int) -> int | None:
        """Return an offset at or before that of the first record; None before there is a log."""
        span = await _in_thread(partial(self._brokers.span, self._topic, ROWS))
        if span is None:
            return None
        offset = index.near(start).offset
        if start < index.end and offset < span.begin:
            first = await self._first()
            if first is None or first > start:
                raise _gone(start, index.end if first is None else first)
        return max(offset, span.begin)

    async def _frames(
        self, consumer: Consumer, offset: int, start: int
    ) -> AsyncGenerator[Sequence[Frame], None]:
        """Yield frames from the one that holds ``start``, as they are decided."""
        consumer.assign([TopicPartition(self._topic, ROWS, offset)])
        joining, at, wait_s = Joining(), start, POLL_S
        while True:
            messages = consumer.consume(MESSAGES_MAX, 0)
            if not messages:
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, POLL_MAX_S)
                continue
            wait_s = POLL_S
            found = await _in_thread(partial(self._joined, joining, messages))
            self._bounds.extend((one.next_offset, behind) for one, behind in found)
            wanted = [one for one, _ in found if one.next_offset > at]
            for one in wanted:
                if one.first > at:
                    raise _gone(at, one.first)
                at = one.next_offset
            if self._bounds and self._bounds[0][0] <= self._below:
                await self.cut(self._below)  # Only now is it known where to.
            if wanted:
                yield wanted
            if any(map(_is_cut_off, messages)):
                consumer.assign([TopicPartition(self._topic, ROWS, await self._again_at(at))])
                joining = Joining()

    async def _again_at(self, start: int) -> int:
        """Return where to go on, once what stood at our offset has been deleted.

        Reading begins some records before the first that is wanted, and those may be cut meanwhile.

        Raises:
            Rejected: a record that was not read yet is gone, too.
        """
        offset = await self._begin_at(await self._index(), start)
        if offset is None:
            raise Rejected(f"{self._topic} has been deleted by somebody; replay the pipeline")
        return offset

    def _joined(self, joining: Joining, messages: Sequence[Message]) -> Sequence[tuple[Frame, int]]:
        """Return the frames that are whole now, each with the offset behind it."""
        found = []
        for message in messages:
            # What an error tells passes by itself, or is looked at afterwards.
            whole = joining.add(message) if message.error() is None else None
            if whole is None:
                continue
            try:
                one = frame.decode(memoryview(whole.data), SALT)
            except Damaged as damage:
                raise Corrupted(f"{self._topic}, offset {whole.first}: {damage}") from damage
            found.append((one, whole.next_offset))
        return found


def _is_cut_off(message: Message) -> bool:
    """Tell whether this says that what stood at our offset is no longer there."""
    error = message.error()
    return error is not None and error.code() == KafkaError._AUTO_OFFSET_RESET  # noqa: SLF001 - its name


def _gone(start: int, first: int) -> Rejected:
    return Rejected(
        f"records {start} to {first - 1} of the ingest log are gone: their effects were decided;"
        " replay from the beginning reads what is left"
    )


def _grouped(frames: Sequence[Frame]) -> Sequence[Sequence[Frame]]:
    """Return frames in groups of ``READ_BYTES``, or one by one where they are larger."""
    groups: list[list[Frame]] = []
    size = READ_BYTES
    for one in frames:
        if size + one.size > READ_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(one)
        size += one.size
    return groups


def _rows(frames: Sequence[Frame], schema: bytes, at: int) -> pa.RecordBatch:
    from dataflow.engine.ingest import rows  # noqa: PLC0415 - Arrow comes with the first batch

    return rows.from_frames(frames, schema, at)


def _schema(schema: bytes) -> pa.Schema:
    from dataflow.engine.ingest import rows  # noqa: PLC0415 - Arrow comes with the first batch

    return rows.read_schema(schema)


async def _in_thread(work: Callable[[], T]) -> T:
    """Have blocking work done; a caller that goes waits for it, so nothing closes under it."""
    return await to_its_end(asyncio.to_thread(work))
