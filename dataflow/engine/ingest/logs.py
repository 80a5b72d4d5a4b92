"""The ingest logs of a node: opened when they are needed, closed when they idle.

The folder must belong to this process alone; the lock on the data directory sees to that.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from dataflow.connect import Log, LogBatch
from dataflow.core.errors import Code, Rejected, Unavailable
from dataflow.core.ids import COMMAND_ID_LENGTH_MAX, PipelineId
from dataflow.engine.ingest.log import RETRY_AFTER, OpenLog, Threads, parse_in, run
from dataflow.engine.ingest.pushed import Ingested, IngestOptions, Parse, Pushed
from dataflow.engine.ingest.store import SEGMENT_BYTES, Store, unavailable

if TYPE_CHECKING:
    import pyarrow as pa

JSON = "application/json"
NDJSON = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"
CONTENT_TYPES = (JSON, NDJSON, ARROW)

BATCH_BYTES_MAX = 16 << 20
"""Thirty times a good batch; a sender with more sends more batches."""

PENDING_BYTES_MAX = 128 << 20
"""Of all batches that are parsed or written at this moment: eight of the largest."""

OPEN_LOGS_MAX = 32
"""Logs that nobody uses are closed beyond this; each may hold 2.5 MB of batch ids."""

STORING_THREADS = 4
"""They wait for disks; four of them keep a disk's queue filled."""


class IngestLogs:
    """Every pipeline's ingest log below one folder."""

    def __init__(
        self,
        root: Path,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        open_logs_max: int = OPEN_LOGS_MAX,
        pending_bytes_max: int = PENDING_BYTES_MAX,
    ) -> None:
        self._root = root
        self._segment_bytes = segment_bytes
        self._open_logs_max = open_logs_max
        self._pending_bytes_max = pending_bytes_max
        self._pending_bytes = 0
        self._open: dict[PipelineId, OpenLog] = {}
        self._decided: dict[PipelineId, int] = {}
        self._parsing = ThreadPoolExecutor(os.cpu_count(), "ingest-parsing")
        self._storing = ThreadPoolExecutor(STORING_THREADS, "ingest-storing")
        self._threads = Threads(self._parsing, self._storing)
        self._parse = parse_in(self._parsing)

    def parse_by(self, parse: Parse) -> None:
        """Have batches parsed elsewhere: a node whose rows are its workers' loads no Arrow."""
        self._parse = parse

    async def append(
        self,
        pipeline: PipelineId,
        batch_id: str,
        content_type: str,
        payload: bytes,
        *,
        source_options: IngestOptions,
    ) -> Ingested:
        """Take a batch, whole or not at all; durable on return, behind all pushed before it.

        The same id with the same content again gets the first answer, also after a restart, as
        long as the id is among the log's last 10,000.

        Raises:
            Rejected: nothing of the batch is taken; a record or the request must be mended.
            Unavailable: nothing of the batch is taken. ``BUSY``: too much waits, ``retry_after``
                says when to push again. ``STORAGE``: the disk is full or fails.
            Corrupted: the log's files are damaged.
        """
        pushed = Pushed(batch_id, checked_type(content_type), payload)
        _check(pushed)
        if self._pending_bytes and self._pending_bytes + len(payload) > self._pending_bytes_max:
            raise Unavailable(
                "too many batches are being taken at this moment; push again later",
                code=Code.BUSY,
                retry_after=RETRY_AFTER,
            )
        self._pending_bytes += len(payload)
        try:
            async with self.using(pipeline) as log:
                return await log.append(pushed, source_options)
        finally:
            self._pending_bytes -= len(payload)

    def log(self, pipeline: PipelineId) -> Log:
        """Return a pipeline's log as its source sees it; nothing is opened yet."""
        return SourceLog(self, pipeline)

    async def remove(self, pipeline: PipelineId) -> None:
        """Delete a log with all its records; nothing happens if there is none.

        Raises:
            Unavailable: ``BUSY`` while it is read or written; ``STORAGE`` if the system refuses.
        """
        log = self._open.get(pipeline)
        if log is not None and not log.idle:
            raise Unavailable(f"the ingest log of {pipeline} is in use", code=Code.BUSY)
        self._forget(pipeline)
        self._decided.pop(pipeline, None)
        folder = self._root / pipeline
        try:
            await run(self._storing, _remove, folder)
        except OSError as error:
            raise unavailable(error, folder) from error

    async def close(self) -> None:
        """Finish what is being written, then release every file and thread."""
        await run(None, self._parsing.shutdown)
        await run(None, self._storing.shutdown)
        for pipeline in list(self._open):
            self._forget(pipeline)

    @asynccontextmanager
    async def using(self, pipeline: PipelineId) -> AsyncIterator[OpenLog]:
        """Have a log open for as long as it is used."""
        log = self._open.pop(pipeline, None)
        if log is None:
            store = Store(self._root / pipeline, self._segment_bytes)
            log = OpenLog(store, self._threads, self._parse, self._decided.get(pipeline, 0))
        self._open[pipeline] = log  # The one used last stands last.
        log.users += 1
        try:
            await log.open()
            yield log
        finally:
            log.users -= 1
            self._decided[pipeline] = log.decided
            self._close_idle()

    def _close_idle(self) -> None:
        surplus = len(self._open) - self._open_logs_max
        idle = [name for name, log in self._open.items() if log.idle]
        for name in idle[: max(surplus, 0)]:
            self._forget(name)

    def _forget(self, pipeline: PipelineId) -> None:
        log = self._open.pop(pipeline, None)
        if log is not None:
            log.store.close()


class SourceLog:
    """``connect.Log``: opens the log for each question, and holds it open while it is read."""

    def __init__(self, logs: IngestLogs, pipeline: PipelineId) -> None:
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


def checked_type(content_type: str) -> str:
    """Return a content type without its parameters.

    Raises:
        Rejected: records of that type, or in that character set, are not understood.
    """
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if kind not in CONTENT_TYPES:
        raise Rejected(f"{kind!r} is not one of {', '.join(CONTENT_TYPES)}", field="contentType")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip(' "') not in {"utf-8", "utf8", "us-ascii"}:
            raise Rejected(f"{value.strip()} is not understood; send utf-8", field="contentType")
    return kind


def _check(pushed: Pushed) -> None:
    length = len(pushed.batch_id)
    if not 0 < length <= COMMAND_ID_LENGTH_MAX or not pushed.batch_id.isprintable():
        raise Rejected(f"use 1 to {COMMAND_ID_LENGTH_MAX} printable characters", field="batchId")
    size = len(pushed.payload)
    if size > BATCH_BYTES_MAX:
        message = f"{size} bytes are more than the {BATCH_BYTES_MAX} of a batch; send several"
        raise Rejected(message, code=Code.TOO_LARGE, field="records")


def _remove(folder: Path) -> None:
    if folder.exists():
        shutil.rmtree(folder)
