"""A whole transactional sink: rows and decision in one SQLite transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from pydantic import Field

from dataflow.connect import (
    Checkpoint,
    Context,
    Fenced,
    Guarantee,
    Options,
    SinkSpec,
    SinkStep,
    Task,
    TransactionalSink,
    Unavailable,
    decision_from,
    decision_held,
    decision_text,
)

T = TypeVar("T")

DECISIONS = """
CREATE TABLE IF NOT EXISTS dataflow_decisions (
    pipeline TEXT, task INTEGER, claimed INTEGER, run INTEGER, number INTEGER, decision TEXT,
    PRIMARY KEY (pipeline, task))"""
CLAIM = "INSERT OR REPLACE INTO dataflow_decisions VALUES (?, ?, ?, ?, ?, ?)"
HELD = "SELECT claimed, decision FROM dataflow_decisions WHERE pipeline = ? AND task = ?"
DECIDE = """
UPDATE dataflow_decisions SET run = ?, number = ?, decision = ?
WHERE pipeline = ? AND task = ? AND claimed = ? AND run = ? AND number = ?"""


class TableOptions(Options):
    """Where the rows go."""

    table: str = Field("rows", pattern=r"^[a-z_]+$", description="The table; made if missing.")


class SqliteTable(TransactionalSink):
    """Every call goes to one thread, which owns the connection."""

    def __init__(self, path: Path, table: str, probe: Callable[[str], None]) -> None:
        self._table = table
        self._probe = probe
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sqlite-table")
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._task: Task | None = None
        self._last = Checkpoint()

    async def recover(self, task: Task, seed: Checkpoint) -> Checkpoint | None:
        self._task = task
        self._last = await self._call(lambda: self._recover(task, seed))
        return self._last

    async def write(self, batch: pa.RecordBatch) -> None:
        await self._call(lambda: self._write(batch))

    async def commit(self, decision: Checkpoint) -> None:
        await self._call(lambda: self._commit(decision))
        self._last = decision

    async def close(self) -> None:
        await self._call(self._db.close)  # rolls back what is open
        self._thread.shutdown(wait=False)

    def _recover(self, task: Task, seed: Checkpoint) -> Checkpoint:
        self._db.execute(DECISIONS)
        self._db.execute("BEGIN IMMEDIATE")
        row = self._db.execute(HELD, (task.pipeline, task.index)).fetchone()
        if row and row[0] > task.run:
            self._db.execute("ROLLBACK")
            raise Fenced(f"run {row[0]} has claimed the table")
        held = decision_held(decision_from(row[1]), seed) if row else seed
        key = task.pipeline, task.index, task.run, held.stamp.run, held.stamp.number
        self._db.execute(CLAIM, (*key, decision_text(held)))
        self._probe("sqlite-table.claimed")
        self._db.execute("COMMIT")
        return held

    def _write(self, batch: pa.RecordBatch) -> None:
        names = ", ".join(f'"{name}"' for name in batch.schema.names)
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(f"CREATE TABLE IF NOT EXISTS {self._table} ({names})")
        marks = ", ".join("?" * batch.num_columns)
        values = [tuple(row.values()) for row in batch.to_pylist()]
        self._db.executemany(f"INSERT INTO {self._table} ({names}) VALUES ({marks})", values)  # noqa: S608 - the option's pattern allows no more than a name
        self._probe("sqlite-table.written")

    def _commit(self, decision: Checkpoint) -> None:
        task = self._task
        if task is None:
            raise Fenced("commit was called before recover")
        if not self._db.in_transaction:
            self._db.execute("BEGIN IMMEDIATE")
        new = decision.stamp.run, decision.stamp.number, decision_text(decision)
        old = task.run, self._last.stamp.run, self._last.stamp.number
        found = self._db.execute(DECIDE, (*new, task.pipeline, task.index, *old))
        if found.rowcount != 1:
            self._db.execute("ROLLBACK")
            raise Fenced("a larger run has claimed the table")
        self._probe("sqlite-table.decided")
        self._db.execute("COMMIT")
        self._probe("sqlite-table.committed")

    async def _call(self, act: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, act)
        except sqlite3.OperationalError as error:
            raise Unavailable(f"{self._table}: {error}", code="OUTCOME_UNKNOWN") from error


def open_table(step: SinkStep, options: TableOptions, context: Context) -> SqliteTable:
    """Return the sink of a step."""
    path = context.path(context.secret(step.connection_string))
    return SqliteTable(path, options.table, context.probe)


SPEC = SinkSpec(
    name="sqlite-table",
    summary="Rows into a table of an SQLite database.",
    guarantee=Guarantee.EXACTLY_ONCE,
    options=TableOptions,
    decides=lambda _: True,
    open=f"{__name__}:open_table",
)
