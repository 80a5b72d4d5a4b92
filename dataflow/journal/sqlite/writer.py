"""The one thread that writes: it gathers what waits and commits it together.

While one group is being made durable the next one gathers, so that full groups come by themselves
under load. Callers wait in the event loop and are woken once a group.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from dataflow.core.errors import Code, DataFlowError, Unavailable
from dataflow.journal.sqlite.errors import FAILURES, translate
from dataflow.journal.sqlite.transaction import Index, Job, Transaction

GROUP_BYTES_MAX = 8 << 20
"""Of one transaction: eight of the largest appends, and some 30 ms of a disk's time."""

UNINDEXED_ROWS_MAX = 4096
"""Records that may wait to be indexed: an index page then takes several entries at once, and the
10 ms that it takes stay below what a caller notices."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """A job, and whom to tell what became of it."""

    job: Job[Any]
    answer: asyncio.Future[Any] | None


Answer = tuple[Asked, object]
"""An exception is raised to the caller; anything else is returned."""


class Writer:
    """Owns the connection that writes. All methods but the thread's own belong to the loop."""

    def __init__(self, connection: sqlite3.Connection, file: Path) -> None:
        self._connection = connection
        self._file = str(file)
        self._loop = asyncio.get_running_loop()
        self._gathered: list[Asked] = []
        self._handed: queue.SimpleQueue[Sequence[Asked | None]] = queue.SimpleQueue()
        self._waiting: deque[Asked | None] = deque()  # None: the end
        self._unindexed = 0
        self._closing = False
        # A daemon: a process that dies without closing the journal must not wait for it.
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    async def ask(self, job: Job[T]) -> T:
        """Have a job done, and return its answer once it is durable."""
        if self._closing:
            raise Unavailable("the journal is closed")
        answer: asyncio.Future[T] = self._loop.create_future()
        if not self._gathered:
            # Everything that this turn of the loop still asks for goes along.
            self._loop.call_soon(self._hand_over)
        self._gathered.append(Asked(job, answer))
        return await answer

    async def close(self) -> None:
        """Finish what was asked for, then close the connection."""
        self._closing = True
        self._hand_over()
        self._handed.put([None])
        await asyncio.to_thread(self._thread.join)

    def _hand_over(self) -> None:
        if self._gathered:
            self._handed.put(self._gathered)
            self._gathered = []

    def _tell(self, answers: Sequence[Answer]) -> None:
        for asked, answer in answers:
            if asked.answer is None or asked.answer.done():
                continue
            if isinstance(answer, BaseException):
                asked.answer.set_exception(answer)
            else:
                asked.answer.set_result(answer)

    # --- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        while group := self._next_group():
            answers = self._commit(group)
            try:
                self._loop.call_soon_threadsafe(self._tell, answers)
            except RuntimeError:
                break  # The loop is gone, and with it everyone who could be told.
            if self._unindexed >= UNINDEXED_ROWS_MAX:
                # Nobody waits for it: if it fails, the count stands and it is tried again.
                self._commit([Asked(Index(None), None)])
        self._connection.close()

    def _next_group(self) -> list[Asked]:
        """Return what waits, up to the limit; wait while that is nothing; empty at the end."""
        if not self._waiting:
            self._waiting.extend(self._handed.get())
        while not self._handed.empty():
            self._waiting.extend(self._handed.get())
        group: list[Asked] = []
        size = 0
        while self._waiting and (asked := self._waiting[0]) is not None:
            size += asked.job.size
            if group and size > GROUP_BYTES_MAX:
                break
            group.append(asked)
            self._waiting.popleft()
        return group

    def _commit(self, group: Sequence[Asked]) -> Sequence[Answer]:
        committing = False
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            transaction = Transaction(self._connection, [asked.job for asked in group])
            answers = [(asked, _applied(asked.job, transaction)) for asked in group]
            transaction.write()
            committing = True
            self._connection.execute("COMMIT")
        except FAILURES as error:
            self._roll_back()
            failure: Exception = translate(error, self._file, committing=committing)
            failure.__cause__ = error
        except Exception as error:  # noqa: BLE001 - whatever it is, the callers must hear of it
            self._roll_back()
            failure = DataFlowError(f"{self._file}: {error!r}", code=Code.INTERNAL)
            failure.__cause__ = error
        else:
            indexed = any(isinstance(asked.job, Index) for asked in group)
            self._unindexed = 0 if indexed else self._unindexed + len(transaction.records)
            return answers
        return [(asked, failure) for asked in group]

    def _roll_back(self) -> None:
        try:
            self._connection.rollback()
        except sqlite3.Error:
            # SQLite has rolled back by itself, or else BEGIN will fail and say why.
            return


def _applied(job: Job[Any], transaction: Transaction) -> object:
    try:
        return job.apply(transaction)
    except (DataFlowError, ArithmeticError, TypeError, ValueError) as refusal:
        return refusal
