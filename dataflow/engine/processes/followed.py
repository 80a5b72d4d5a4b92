"""A node's ingest logs as a worker process reads them: the files itself, how far by asking.

The node appends, synchronises and cuts. What it has not told to be durable is not read, though it
stands in the file: a power cut could still take it back behind a position that was decided.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from dataflow.connect import LogBatch
from dataflow.core.ids import PipelineId
from dataflow.engine.closing import to_its_end
from dataflow.engine.ingest import FileLogs
from dataflow.engine.ingest.frame import Frame
from dataflow.engine.ingest.reader import Reader
from dataflow.engine.ingest.segment import Segment
from dataflow.engine.processes.messages import (
    Answer,
    CutLog,
    Done,
    FollowLog,
    LogSegment,
    LogView,
    Question,
)

if TYPE_CHECKING:
    import pyarrow as pa

A = TypeVar("A", bound=Answer)

AT_ONCE = -1
"""Every log ends beyond it."""


class Ask(Protocol):
    """Asks the node; see ``Asking.ask``."""

    def __call__(self, question: Question, kind: type[A]) -> Awaitable[A]:
        """Return the answer."""
        ...


class FollowedLog:
    """``connect.Log`` in a worker process."""

    def __init__(self, ask: Ask, pipeline: PipelineId) -> None:
        self._ask = ask
        self._pipeline = pipeline

    async def read(self, start: int) -> AsyncGenerator[LogBatch, None]:
        """See ``connect.Log``."""
        held = _Held()
        with closing(Reader(held, start)) as reader:
            held.update(await self._view(start), start)
            at = start
            while True:
                frames = await _in_thread(reader.next)
                if not frames:
                    held.update(await self._view(start, beyond=at), start)
                    continue
                batch = await _in_thread(partial(_rows, frames, held.schema, at))
                at = frames[-1].next_offset
                yield LogBatch(batch, at)

    async def begin(self) -> int:
        """See ``connect.Log``."""
        segments = (await self._view()).segments
        return segments[0].first if segments else 0

    async def end(self) -> int:
        """See ``connect.Log``."""
        return (await self._view()).end

    async def behind(self, start: int) -> tuple[int, int]:
        """See ``connect.Log``."""
        view = await self._view(start)
        return view.behind_records, view.behind_bytes

    async def schema(self) -> pa.Schema | None:
        """See ``connect.Log``."""
        schema = (await self._view()).schema
        return await _in_thread(partial(_schema, schema)) if schema else None

    async def cut(self, below: int) -> None:
        """See ``connect.Log``."""
        await self._ask(CutLog(self._pipeline, below), Done)

    async def _view(self, start: int = 0, *, beyond: int = AT_ONCE) -> LogView:
        return await self._ask(FollowLog(self._pipeline, start, beyond), LogView)


class _Held:
    """``reader.Held`` as the node has told it. A segment known before only grows."""

    def __init__(self) -> None:
        self.segments: Sequence[Segment] = ()
        self.end = 0
        self.schema = b""

    @property
    def first(self) -> int:
        return self.segments[0].first if self.segments else 0

    def update(self, view: LogView, start: int) -> None:
        known = {segment.first: segment for segment in self.segments}
        for told in view.segments:
            if (segment := known.get(told.first)) is not None:
                segment.size = told.size
            else:
                known[told.first] = _segment(told, view.schema, start)
        self.segments = tuple(known[told.first] for told in view.segments)
        self.end, self.schema = view.end, view.schema


def _segment(told: LogSegment, schema: bytes, start: int) -> Segment:
    marks = [(start, told.near)]
    path = Path(told.path)
    return Segment(path, told.first, told.salt, told.begin, told.size, schema, b"", marks)


async def answer_log(ingest: FileLogs, question: FollowLog | CutLog) -> LogView | Done:
    """Answer for the node that keeps the logs."""
    async with ingest.using(question.pipeline_id) as log:
        if isinstance(question, CutLog):
            await log.cut(question.below)
            return Done()
        await log.beyond(question.beyond)
        store, start = log.store, question.start
        segments = tuple(
            LogSegment(
                path=str(segment.path),
                first=segment.first,
                salt=segment.salt,
                begin=segment.begin,
                size=segment.size,
                near=segment.near(start),
            )
            for segment in store.segments
        )
        behind = max(store.end - start, 0), store.bytes_from(start)
        return LogView(store.end, store.schema or b"", *behind, segments)


T = TypeVar("T")


async def _in_thread(work: Callable[[], T]) -> T:
    """Have blocking work done; a caller that goes waits for it, so no file closes under it."""
    return await to_its_end(asyncio.to_thread(work))


def _rows(frames: Sequence[Frame], schema: bytes, at: int) -> pa.RecordBatch:
    from dataflow.engine.ingest import rows  # noqa: PLC0415 - Arrow comes with the first batch

    return rows.from_frames(frames, schema, at)


def _schema(schema: bytes) -> pa.Schema:
    from dataflow.engine.ingest import rows  # noqa: PLC0415 - Arrow comes with the first batch

    return rows.read_schema(schema)
