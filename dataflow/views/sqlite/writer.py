"""The thread that writes the views, a transaction for all that waits."""

from __future__ import annotations

import asyncio
import json
import queue
import sqlite3
import threading
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

from dataflow.core.errors import Code, Corrupted, DataFlowError, Unavailable
from dataflow.core.ids import PipelineId, ShardId
from dataflow.journal.sqlite.errors import FAILURES, translate
from dataflow.journal.sqlite.statements import Row, write_rows
from dataflow.views import rows
from dataflow.views.contract import Projected
from dataflow.views.sqlite.file import SQL, damaged

WAITING_MAX = 100_000
"""Events that may wait while the file cannot be written: 100 MB, ten seconds of the fullest load.
Past it the views stop, and are brought up to date from the journal at the next start."""

GATHER_S = 0.1
"""How long events gather while nobody asks: each dirties a page of the index, and a fuller
transaction shares pages (measured at 12,000 events/s: 17 us of processor an event, 25 without)."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)

Waiter: TypeAlias = "asyncio.Future[None]"


class Writer:
    """Owns the connection that writes. All methods but the thread's own belong to the loop."""

    def __init__(self, connection: sqlite3.Connection, file: Path) -> None:
        self._connection = connection
        self._file = file
        self._loop = asyncio.get_running_loop()
        self._handed: queue.SimpleQueue[Sequence[Projected] | Waiter | None] = queue.SimpleQueue()
        self._wanted = threading.Event()
        self._waiting: list[Projected] = []
        self._broken: DataFlowError | None = None
        # A daemon: a process that dies without closing the views must not wait for them.
        self._thread = threading.Thread(target=self._run, name="views", daemon=True)
        self._thread.start()

    def apply(self, batch: Sequence[Projected]) -> None:
        """Hand events over."""
        self._handed.put(batch)

    async def settled(self) -> None:
        """Wait until everything handed over before is written."""
        waiter: Waiter = self._loop.create_future()
        self._handed.put(waiter)
        self._wanted.set()
        await waiter

    async def close(self) -> None:
        """Write what waits, then close the connection."""
        self._handed.put(None)
        self._wanted.set()
        await asyncio.to_thread(self._thread.join)

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        going_on = True
        while going_on:
            waiters: list[Waiter] = []
            going_on = self._take(self._handed.get(), waiters)
            self._wanted.wait(GATHER_S)
            self._wanted.clear()
            while going_on and not self._handed.empty():
                going_on = self._take(self._handed.get(), waiters)
            failure = self._write()
            if waiters:
                try:
                    self._loop.call_soon_threadsafe(_tell, waiters, failure)
                except RuntimeError:
                    break  # The loop is gone, and with it everyone who could be told.
        self._connection.close()

    def _take(self, item: Sequence[Projected] | Waiter | None, waiters: list[Waiter]) -> bool:
        """Sort what was handed over; tell whether more may come."""
        if item is None:
            return False
        if isinstance(item, asyncio.Future):
            waiters.append(item)
        elif self._broken is None:
            self._waiting.extend(item)
        return True

    def _write(self) -> DataFlowError | None:
        """Write what waits. What cannot be written now waits on, up to the limit."""
        if self._broken is not None or not self._waiting:
            return self._broken
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._write_rows(self._waiting)
            self._connection.execute("COMMIT")
        except FAILURES as error:
            self._connection.rollback()
            failure: DataFlowError = translate(error, str(self._file))
            failure.__cause__ = error
        except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            self._connection.rollback()
            failure = DataFlowError(f"{self._file}: {error!r}", code=Code.INTERNAL)
            failure.__cause__ = error
        else:
            self._waiting.clear()
            return None
        if not isinstance(failure, Unavailable) or len(self._waiting) > WAITING_MAX:
            failure = self._broken = self._given_up(failure)
            self._waiting.clear()
        return failure

    def _given_up(self, failure: DataFlowError) -> DataFlowError:
        try:
            if isinstance(failure, Corrupted):
                return damaged(self._file)
        except Unavailable as stuck:
            return stuck
        return Unavailable(
            f"the views have stopped: {failure.message}; start again to bring them up to date",
            code=Code.STORAGE,
        )

    def _write_rows(self, batch: Sequence[Projected]) -> None:
        latest: dict[PipelineId, Projected] = {}
        ends: dict[ShardId, int] = {}
        entries: list[Row] = []
        for projected in batch:
            entry = rows.entry(projected)
            latest[entry.pipeline_id] = projected
            ends[entry.shard] = entry.offset
            time_us = (entry.time - EPOCH) // MICROSECOND
            named = (entry.pipeline_id, entry.sequence, entry.type, time_us)
            entries.append((*named, entry.version, entry.shard, entry.offset))
        entries.sort()  # A page of the index is then touched once.
        lines = [_line(latest[name]) for name in sorted(latest)]
        write_rows(self._connection, SQL["save_events"], entries)
        write_rows(self._connection, SQL["save_pipelines"], lines)
        write_rows(self._connection, SQL["save_applied"], list(ends.items()))


def _line(projected: Projected) -> Row:
    line = rows.summary(projected)
    return (
        line.pipeline_id,
        projected.event.sequence,
        line.name,
        line.status.value,
        _json(tuple(line.labels.items())),
        line.source_type,
        line.sink_type,
        line.version,
        (line.created_at - EPOCH) // MICROSECOND,
        (line.updated_at - EPOCH) // MICROSECOND,
        rows.searched(projected.state),
    )


@lru_cache(maxsize=1024)
def _json(labels: tuple[tuple[str, str], ...]) -> str:
    return json.dumps(dict(labels))


def _tell(waiters: Iterable[Waiter], failure: DataFlowError | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if failure is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(failure)
