"""The ``file`` sink: a ``StagingSink`` over one file or a directory of parts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import pyarrow as pa

from dataflow.connect import Context, Rejected, SinkStep, StagingSink, Task, Unavailable
from dataflow.connect.gathering import Gathered
from dataflow.connectors.file.sink_converted import ConvertedFile
from dataflow.connectors.file.sink_directory import Directory
from dataflow.connectors.file.sink_plain import PlainFile
from dataflow.connectors.file.sink_spec import INSIDE, FileSinkOptions, Written, layout_of
from dataflow.connectors.file.sink_target import Target

LOCK_WAIT_S = 5.0
"""A former worker ends within this once its owner is gone; past it the engine backs off."""

LOCK_POLL_S = 0.05

GATHER_ROWS = 10_000
"""Formatting takes 0.6 ms a call however few the rows: 0.2 M rows/s in batches of 100, 2 M in
batches of 10,000."""

GATHER_BYTES = 8 << 20
"""And no more memory than this, however long the rows."""

T = TypeVar("T")


def open_sink(step: SinkStep, options: FileSinkOptions, context: Context) -> FileSink:
    """Return the sink of one step.

    Raises:
        Rejected: the path is outside the roots of this node, or contradicts the options.
    """
    text = context.secret(step.connection_string)
    layout, problems = layout_of(text, options)
    if layout is None:
        raise Rejected(problems[0].message, field=problems[0].field)
    path = context.path(text)
    kind: Callable[..., Target] = PlainFile
    if layout.directory:
        kind = Directory
    elif layout.format in INSIDE:
        kind = ConvertedFile
    target = kind(path, layout, options, context)
    if text != step.connection_string:
        target.name = step.connection_string
    return FileSink(target, context, step.batch_size)


class FileSink(StagingSink[Written]):
    """Hands every call, in turn, to one thread of its own, and gathers small batches before.

    A call that was cancelled goes on in its thread; ``close`` comes after it, so nothing is ever
    written past it, and nobody else has the lock before.
    """

    def __init__(self, target: Target, context: Context, batch_size: int = 0) -> None:
        self.replaces = target.options.if_exists == "replace"
        self._target = target
        self._clock = context.clock
        self._gathered = Gathered(batch_size or GATHER_ROWS, GATHER_BYTES)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="file-sink")
        self._failure: BaseException | None = None

    async def open(self, task: Task, last: Written | None) -> None:
        """Wait for the lock, then cut back to ``last``.

        Raises:
            Unavailable: another writer has it.
            Fenced: a larger run has written.
            Rejected: what is there is not to be touched, or cannot be written.
            Corrupted: what was decided is gone.
        """
        deadline = self._clock.steady() + LOCK_WAIT_S
        while not await self._call(self._target.lock.take):
            if self._clock.steady() >= deadline:
                raise self._target.lock.refusal(task)
            await asyncio.sleep(LOCK_POLL_S)
        await self._call(lambda: self._target.open(task, last))

    async def write(self, batch: pa.RecordBatch) -> None:
        """Stage rows; small batches are gathered first."""
        self._check()
        await self._write(self._gathered.add(batch))

    async def prepare(self, number: int, *, final: bool) -> Written:  # noqa: ARG002 - the run and the names say enough
        """Make all rows so far durable, and say how to show them."""
        self._check()
        await self._write(self._gathered.take())
        return await self._effect(lambda: self._target.prepare(final=final))

    async def commit(self, committable: Written) -> None:
        """Make a decided checkpoint visible; idempotent."""
        await self._call(lambda: self._target.commit(committable))

    async def discard(self, task: Task, keep: Written | None) -> None:
        """Drop what smaller runs staged."""
        await self._call(lambda: self._target.discard(task, keep))

    async def close(self) -> None:
        """Drop what was not prepared, and let the next writer in.

        It happens whoever gives up waiting for it: a lock that stays is another writer's for ever.
        """
        self._gathered.take()
        closing = asyncio.get_running_loop().run_in_executor(self._thread, self._target.close)
        self._thread.shutdown(wait=False)
        await asyncio.shield(closing)

    async def _write(self, batches: Sequence[pa.RecordBatch]) -> None:
        for batch in batches:
            await self._effect(partial(self._target.write, batch))

    async def _effect(self, act: Callable[[], T]) -> T:
        """Call what leaves a half-written stage behind if it fails: only ``open`` mends that."""
        try:
            return await self._call(act)
        except BaseException as error:
            self._failure = error
            raise

    def _check(self) -> None:
        if self._failure is not None:
            raise Unavailable(f"{self._target.path}: nothing can follow what failed before") from (
                self._failure
            )

    async def _call(self, act: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, act)
