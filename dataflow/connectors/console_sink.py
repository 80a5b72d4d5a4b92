"""Write rows to standard output, in a thread: a pipe whose reader is slow blocks its writer."""

from __future__ import annotations

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pyarrow as pa

from dataflow.connect import AtLeastOnceSink, Context, SinkStep, Task, Unavailable
from dataflow.connectors.console import BATCH_ROWS, ConsoleOptions
from dataflow.connectors.formats.encode import encoder_of, plain
from dataflow.connectors.formats.shape import Plain


class Writer(Protocol):
    """Where bytes go."""

    def write(self, data: bytes, /) -> object:
        """Take all of ``data``."""
        ...

    def flush(self) -> None:
        """Return when everything taken is on its way."""
        ...


def open_sink(
    step: SinkStep, options: ConsoleOptions, context: Context, writer: Writer | None = None
) -> ConsoleSink:
    """Return a sink that writes to ``writer``, or to the process's standard output."""
    return ConsoleSink(step, options, context, writer or sys.stdout.buffer)


_THREAD = ThreadPoolExecutor(1, thread_name_prefix="console")
"""Of all console sinks: they write to one standard output, one after the other."""


class ConsoleSink(AtLeastOnceSink):
    """Writes at most ``batchSize`` rows at once, so that several pipelines take turns."""

    def __init__(
        self, step: SinkStep, options: ConsoleOptions, context: Context, writer: Writer
    ) -> None:
        self._name = f"{context.pipeline}.{context.step}"
        self._batch_rows = step.batch_size or BATCH_ROWS
        self._encoder = encoder_of(options.format, Plain())
        self._writer = writer
        self._thread = _THREAD
        self._columns: list[str] = []

    async def open(self, task: Task) -> None:
        """Do nothing: standard output is open."""

    async def write(self, batch: pa.RecordBatch) -> None:
        """Write rows as lines."""
        loop = asyncio.get_running_loop()
        for start in range(0, batch.num_rows, self._batch_rows):
            rows = batch.slice(start, self._batch_rows)
            await loop.run_in_executor(self._thread, self._write, rows)

    async def flush(self) -> None:
        """Return when everything is on its way."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._flush)

    async def close(self) -> None:
        """Do nothing: standard output stays open for others."""

    def _write(self, rows: pa.RecordBatch) -> None:
        lines = self._lines(rows)
        try:
            self._writer.write(lines)
        except (OSError, ValueError) as error:
            raise self._failed(error) from error

    def _flush(self) -> None:
        try:
            self._writer.flush()
        except (OSError, ValueError) as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError | ValueError) -> Unavailable:
        return Unavailable(f"{self._name}: cannot write to standard output: {error}")

    def _lines(self, rows: pa.RecordBatch) -> bytes:
        rows = plain(rows)
        head = b""
        if rows.schema.names != self._columns:  # other columns, another line of names
            head = self._encoder.head(rows.schema)
            self._columns = rows.schema.names
        return head + self._encoder.rows(rows)
