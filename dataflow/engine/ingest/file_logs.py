"""Ingest logs in a folder, which must belong to this process alone.

The lock on the data directory sees to that.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from contextlib import aclosing, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dataflow.connect import Log, LogBatch
from dataflow.core.ids import PipelineId
from dataflow.engine.ingest.log import OpenLog, run
from dataflow.engine.ingest.logs import OPEN_LOGS_MAX, PENDING_BYTES_MAX, OpenLogs
from dataflow.engine.ingest.reader import Reader
from dataflow.engine.ingest.store import SEGMENT_BYTES, Store, unavailable

if TYPE_CHECKING:
    import pyarrow as pa

STORING_THREADS = 4
"""They wait for disks; four of them keep a disk's queue filled."""


@dataclass(eq=False)
class FileLog(OpenLog):
    """A log that this process writes and reads."""

    store: Store

    async def read(self, start: int) -> AsyncGenerator[LogBatch, None]:
        """See ``connect.Log``."""
        with closing(Reader(self.store, start)) as reader:
            at = start
            while True:
                grown = self.grown
                found = await run(self.threads.storing, partial(_next, self.store, reader, at))
                if found is None:
                    await grown.wait()
                    continue
                at = found.next_offset
                yield found

    async def beyond(self, offset: int) -> None:
        """Return as soon as the log ends beyond an offset."""
        while self.store.end <= offset:
            await self.grown.wait()

    async def arrow_schema(self) -> pa.Schema | None:
        """See ``connect.Log.schema``."""
        schema = self.store.schema
        return None if schema is None else await run(self.threads.parsing, _schema, schema)

    async def cut(self, below: int) -> None:
        """See ``connect.Log``."""
        self.decided = min(below, self.store.end)  # Less than before, after a replay.
        segments = self.store.segments
        if len(segments) > 1 and segments[1].first <= self.decided:
            await run(self.threads.storing, self.store.cut, self.decided)


class FileLogs(OpenLogs[FileLog]):
    """Every pipeline's ingest log below one folder."""

    def __init__(
        self,
        root: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        open_logs_max: int = OPEN_LOGS_MAX,
        pending_bytes_max: int = PENDING_BYTES_MAX,
    ) -> None:
        super().__init__(
            storing_threads=STORING_THREADS,
            open_logs_max=open_logs_max,
            pending_bytes_max=pending_bytes_max,
        )
        self._root = root
        self._segment_bytes = segment_bytes

    def log(self, pipeline: PipelineId) -> Log:
        """See ``IngestLogs``."""
        return SourceLog(self, pipeline)

    def _made(self, pipeline: PipelineId, decided: int) -> FileLog:
        store = Store(self._root / pipeline, self._segment_bytes)
        return FileLog(store, self._threads, self._parse, decided)

    def _delete(self, pipeline: PipelineId) -> None:
        folder = self._root / pipeline
        try:
            if folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            raise unavailable(error, folder) from error


class SourceLog:
    """``connect.Log``: opens the log for each question, and holds it open while it is read."""

    def __init__(self, logs: FileLogs, pipeline: PipelineId) -> None:
        self._logs = logs
        self._pipeline = pipeline

    async def read(self, start: int) -> AsyncGenerator[LogBatch, None]:
        """See ``connect.Log``."""
        async with self._logs.using(self._pipeline) as log, aclosing(log.read(start)) as batches:
            async for batch in batches:
                yield batch

    async def begin(self) -> int:
        """See ``connect.Log``."""
        async with self._logs.using(self._pipeline) as log:
            return log.store.first

    async def end(self) -> int:
        """See ``connect.Log``."""
        async with self._logs.using(self._pipeline) as log:
            return log.store.end

    async def behind(self, start: int) -> tuple[int, int]:
        """See ``connect.Log``."""
        async with self._logs.using(self._pipeline) as log:
            return max(log.store.end - start, 0), log.store.bytes_from(start)

    async def schema(self) -> pa.Schema | None:
        """See ``connect.Log``."""
        async with self._logs.using(self._pipeline) as log:
            return await log.arrow_schema()

    async def cut(self, below: int) -> None:
        """See ``connect.Log``."""
        async with self._logs.using(self._pipeline) as log:
            await log.cut(below)


def _next(store: Store, reader: Reader, at: int) -> LogBatch | None:
    frames = reader.next()
    if not frames or store.schema is None:
        return None
    from dataflow.engine.ingest import rows  # noqa: PLC0415 - Arrow comes with the first batch

    return LogBatch(rows.from_frames(frames, store.schema, at), frames[-1].next_offset)


def _schema(schema: bytes) -> pa.Schema:
    from dataflow.engine.ingest import rows  # noqa: PLC0415 - Arrow comes with the first batch

    return rows.read_schema(schema)
