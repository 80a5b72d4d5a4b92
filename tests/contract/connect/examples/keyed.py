"""A whole idempotent sink: rows under the keys of their records; writing again is no harm."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pyarrow as pa

from dataflow.connect import (
    Context,
    Guarantee,
    IdempotentSink,
    Options,
    SinkSpec,
    SinkStep,
    Task,
    Unavailable,
)
from dataflow.connect.transform import ORDINAL

TABLE = """
CREATE TABLE IF NOT EXISTS keyed (
    pipeline TEXT, lineage INTEGER, split TEXT, ordinal INTEGER, row TEXT,
    PRIMARY KEY (pipeline, lineage, split, ordinal))"""
PUT = "INSERT OR REPLACE INTO keyed VALUES (?, ?, ?, ?, ?)"


class Keyed(IdempotentSink):
    """Gathers rows until they are asked to be durable; a run's number is in no key."""

    def __init__(self, path: Path, probe: Callable[[str], None]) -> None:
        self._path = path
        self._probe = probe
        self._task: Task | None = None
        self._rows: list[tuple[object, ...]] = []

    async def open(self, task: Task) -> None:
        self._task = task

    async def write(self, batch: pa.RecordBatch, split: str) -> None:
        for row in batch.to_pylist():
            self._rows.append((*self.key_of(split, row.pop(ORDINAL)), json.dumps(row, default=str)))

    async def flush(self) -> None:
        await asyncio.to_thread(self._put)
        self._rows = []

    def key_of(self, split: str, ordinal: int) -> tuple[object, ...]:
        """Return the key of a record: the same whenever it is written again."""
        if self._task is None:
            raise Unavailable("write was called before open")
        return self._task.pipeline, self._task.lineage, split, ordinal

    def _put(self) -> None:
        with closing(sqlite3.connect(self._path)) as db:
            db.execute(TABLE)
            db.executemany(PUT, self._rows)
            self._probe("keyed.put")
            db.commit()
            self._probe("keyed.committed")


def open_keyed(step: SinkStep, _: Options, context: Context) -> Keyed:
    """Return the sink of a step."""
    return Keyed(context.path(context.secret(step.connection_string)), context.probe)


SPEC = SinkSpec(
    name="keyed",
    summary="Rows under the keys of their records.",
    guarantee=Guarantee.EXACTLY_ONCE,
    options=Options,
    open=f"{__name__}:open_keyed",
    lanes=True,
)
