"""Write rows to standard output, in a thread: a pipe whose reader is slow blocks its writer."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple, Protocol

import pyarrow as pa

from dataflow.connect import AtLeastOnceSink, Context, SinkStep, Task, Unavailable
from dataflow.connect.gathering import Gathered
from dataflow.connectors.console import BATCH_ROWS, ConsoleOptions
from dataflow.connectors.console_shown import shown_as

GATHER_BYTES = 1 << 20
"""And no more memory than this, however long the rows."""

ROWS_AT_ONCE = 100
"""Made lines of in less time than it takes to have a thread do so (0.1 ms)."""


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
    output = _Output(writer) if writer else _shared(sys.stdout.buffer)
    return ConsoleSink(step, options, context, output)


_THREAD = ThreadPoolExecutor(1, thread_name_prefix="console")
"""Of all console sinks: they write to one standard output, one after the other."""


class _Lines(NamedTuple):
    """What waits to be written, and who waits for it."""

    lines: bytes
    loop: asyncio.AbstractEventLoop
    written: asyncio.Future[None]


class _Output:
    """Writes the lines of all sinks over one writer, in a thread; what waits goes together."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._lock = threading.Lock()
        self._waiting: list[_Lines] = []

    async def write(self, lines: bytes) -> None:
        """Return when ``lines`` are on their way.

        Raises:
            OSError, ValueError: they are not.
        """
        loop = asyncio.get_running_loop()
        written: asyncio.Future[None] = loop.create_future()
        with self._lock:
            self._waiting.append(_Lines(lines, loop, written))
            is_first = len(self._waiting) == 1
        if is_first:
            _THREAD.submit(self._drain)
        await written

    def _drain(self) -> None:
        with self._lock:
            taken, self._waiting = self._waiting, []
        failure: OSError | ValueError | None = None
        try:
            for one in taken:
                self._writer.write(one.lines)
            self._writer.flush()
        except (OSError, ValueError) as error:
            failure = error
        for loop in {one.loop for one in taken}:
            loop.call_soon_threadsafe(_tell, [one for one in taken if one.loop is loop], failure)


def _tell(written: list[_Lines], failure: Exception | None) -> None:
    for one in written:
        if one.written.done():
            continue
        if failure is None:
            one.written.set_result(None)
        else:
            one.written.set_exception(failure)


@lru_cache(maxsize=1)
def _shared(writer: Writer) -> _Output:
    """Return what all sinks share that write to the process's standard output."""
    return _Output(writer)


class ConsoleSink(AtLeastOnceSink):
    """Writes at most ``batchSize`` rows at once, so that several pipelines take turns."""

    refuses = False

    def __init__(
        self, step: SinkStep, options: ConsoleOptions, context: Context, output: _Output
    ) -> None:
        self._name = f"{context.pipeline}.{context.step}"
        self._batch_rows = step.batch_size or BATCH_ROWS
        self._gathered = Gathered(self._batch_rows, GATHER_BYTES)
        self._shown = shown_as(options.format)
        self._output = output

    async def open(self, task: Task) -> None:
        """Do nothing: standard output is open."""

    async def write(self, batch: pa.RecordBatch) -> None:
        """Write rows as lines; a few wait for others, until ``flush`` at the latest."""
        await self._hand(self._gathered.add(batch))

    async def flush(self) -> None:
        """Return when everything is on its way."""
        await self._hand(self._gathered.take())

    async def close(self) -> None:
        """Do nothing: standard output stays open for others."""

    async def _hand(self, batches: Sequence[pa.RecordBatch]) -> None:
        for rows in batches:
            for start in range(0, rows.num_rows, self._batch_rows):
                await self._write(rows.slice(start, self._batch_rows))

    async def _write(self, rows: pa.RecordBatch) -> None:
        if rows.num_rows <= ROWS_AT_ONCE:
            lines = self._shown(rows)
        else:
            lines = await asyncio.to_thread(self._shown, rows)
        try:
            await self._output.write(lines)
        except (OSError, ValueError) as error:
            raise self._failed(error) from error

    def _failed(self, error: OSError | ValueError) -> Unavailable:
        return Unavailable(f"{self._name}: cannot write to standard output: {error}")
