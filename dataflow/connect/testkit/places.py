"""What the suites write, as whom, and where."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Generic, TypeVar

import pyarrow as pa

from dataflow.connect.context import Context
from dataflow.connect.sink import Task
from dataflow.core.ids import Lineage, PipelineId, Run

SinkT = TypeVar("SinkT")

ROWS, BATCH, PER_CHECKPOINT = 10, 3, 2
"""Of a history: rows in all, rows of a batch, batches of a checkpoint. The last batch and the last
checkpoint are smaller than the others: what is lost only there is found, too."""


class Clock:
    """Time moves a second whenever somebody looks, so that no wait takes long."""

    def __init__(self) -> None:
        self._seconds = 0

    def now(self) -> datetime:
        """Return a moment in 2026."""
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.steady())

    def steady(self) -> float:
        """Return seconds."""
        self._seconds += 1
        return float(self._seconds)


def context(probe: Callable[[str], None] = lambda _: None, pipeline: str = "p") -> Context:
    """Return a context that allows every path and resolves no secrets."""
    return Context(PipelineId(pipeline), "step", Clock(), lambda text: text, Path, probe=probe)


def task(run: int, pipeline: str = "p", lineage: int = 1, index: int = 0) -> Task:
    """Return who is writing."""
    return Task(PipelineId(pipeline), index, Run(run), Lineage(lineage))


def rows(start: int, stop: int) -> pa.RecordBatch:
    """Return rows that can be told apart by ``id``; their text holds what formats trip over."""
    ids = range(start, stop)
    names = [f'row {i}, "quoted"\nand broken' for i in ids]
    return pa.record_batch({"id": pa.array(ids, pa.int64()), "name": pa.array(names)})


def ids_in(found: pa.RecordBatch | pa.Table) -> list[int]:
    """Return the ids of rows made by ``rows``."""
    ids: list[Any] = found.column("id").to_pylist()
    return ids


class SinkPlace(ABC, Generic[SinkT]):
    """One place to write to, empty at first; what is in it outlives the sinks that write to it."""

    @abstractmethod
    def sink(self, probe: Callable[[str], None]) -> SinkT:
        """Return a new instance, as a new process would make it."""

    @abstractmethod
    def visible(self) -> Sequence[int]:
        """Return the ids of the rows that readers see, in any order, as often as they see them."""

    def litter(self) -> Sequence[str]:
        """Name what is there beside what readers see; nothing may be, after a run that ended."""
        return ()

    async def kill(self, sink: SinkT) -> None:
        """Take back what the system takes back from a dead process, and not a thing more.

        Called in place of ``close``: override it where a sink holds locks or connections.
        """

    def rows(self, start: int, stop: int) -> pa.RecordBatch:
        """Return rows of these ids; override it where the sink asks for other columns."""
        return rows(start, stop)
