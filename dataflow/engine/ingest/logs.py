"""A node's ingest logs, whatever keeps them: opened when they are needed, closed when they idle."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

from dataflow.core.errors import Code, Rejected, Unavailable
from dataflow.core.ids import COMMAND_ID_LENGTH_MAX, PipelineId
from dataflow.engine.ingest.log import RETRY_AFTER, OpenLog, Threads, parse_in, run
from dataflow.engine.ingest.pushed import Ingested, IngestOptions, Parse, Pushed

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

OpenT = TypeVar("OpenT", bound=OpenLog)


class OpenLogs(Generic[OpenT]):
    """Implements what is the same of every ``IngestLogs``."""

    def __init__(
        self,
        *,
        storing_threads: int,
        open_logs_max: int = OPEN_LOGS_MAX,
        pending_bytes_max: int = PENDING_BYTES_MAX,
    ) -> None:
        self._open_logs_max = open_logs_max
        self._pending_bytes_max = pending_bytes_max
        self._pending_bytes = 0
        self._open: dict[PipelineId, OpenT] = {}
        self._decided: dict[PipelineId, int] = {}
        self._parsing = ThreadPoolExecutor(os.cpu_count(), "ingest-parsing")
        self._storing = ThreadPoolExecutor(storing_threads, "ingest-storing")
        self._threads = Threads(self._parsing, self._storing)
        self._parse = parse_in(self._parsing)

    @abstractmethod
    def _made(self, pipeline: PipelineId, decided: int) -> OpenT:
        """Return a log that is not open yet."""

    @abstractmethod
    def _delete(self, pipeline: PipelineId) -> None:
        """Delete whatever is kept of a log; blocks; raises ``Unavailable``."""

    def parse_by(self, parse: Parse) -> None:
        """See ``IngestLogs``."""
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
        """See ``IngestLogs``."""
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

    async def remove(self, pipeline: PipelineId) -> None:
        """See ``IngestLogs``."""
        log = self._open.get(pipeline)
        if log is not None and not log.idle:
            raise Unavailable(f"the ingest log of {pipeline} is in use", code=Code.BUSY)
        self._forget(pipeline)
        self._decided.pop(pipeline, None)
        await run(self._storing, self._delete, pipeline)

    async def close(self) -> None:
        """See ``IngestLogs``."""
        await run(None, self._parsing.shutdown)
        await run(None, self._storing.shutdown)
        for pipeline in list(self._open):
            self._forget(pipeline)

    @asynccontextmanager
    async def using(self, pipeline: PipelineId) -> AsyncIterator[OpenT]:
        """Have a log open for as long as it is used."""
        log = self._open.pop(pipeline, None)
        if log is None:
            log = self._made(pipeline, self._decided.get(pipeline, 0))
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
