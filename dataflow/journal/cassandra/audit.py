"""One pipeline's events, findable by its name: written behind the log, and never trusted over it.

Rows are plain and always the same, so whoever writes them again does no harm. A round takes all
that waits; of one pipeline it writes row by row in order, so that a reader finds no gap. The log
is the truth: up to ``audited`` a shard's log is in the table for certain, and whoever acquires the
shard writes what lies behind that again, BEFORE it serves anything.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress

import structlog

from dataflow.core.errors import Code, Corrupted, DataFlowError, Unavailable
from dataflow.core.ids import Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.cassandra import audit_rows as rows
from dataflow.journal.cassandra.buckets import Buckets
from dataflow.journal.cassandra.reading import Reader
from dataflow.journal.cassandra.session import Session
from dataflow.journal.cassandra.session import Values as RowValues
from dataflow.journal.contract import Record

log = structlog.get_logger()

IN_FLIGHT_MAX = 4
"""Requests of a round: enough to keep up with the log, too few to be in its way."""

WAITING_MAX = 8192
"""Records that wait to be written; then the appends wait."""

GATHER_S = 0.02
"""So that a round has many records of each pipeline; nobody waits for it but readers of history,
who cut it short."""

UNMARKED_MAX = 128
"""Records of a shard that the next owner may have to write again: some 30 ms of its start."""

RETRY_S = 0.5


class Audit:
    """Writes and reads the table. ``start`` and ``close`` may be called once each."""

    def __init__(self, session: Session, buckets: Buckets, reader: Reader) -> None:
        self._session = session
        self._buckets = buckets
        self._reader = reader
        self._waiting: list[rows.Waiting] = []
        self._pending: dict[PipelineId, int] = defaultdict(int)
        self._marked: dict[ShardId, Offset] = {}
        self._wanted = asyncio.Event()
        self._hurried = asyncio.Event()
        self._settlers: list[asyncio.Future[None]] = []
        self._closing = False
        # The journal's one task; ``close`` awaits it.
        self._task = asyncio.get_running_loop().create_task(self._write_rounds())

    async def note(self, shard: ShardId, bucket: Offset, records: Sequence[Record]) -> None:
        """Have records written soon; waits while too many wait already."""
        self._waiting += [rows.Waiting(shard, bucket, record) for record in records]
        for record in records:
            self._pending[record.pipeline] += 1
        self._wanted.set()
        if len(self._waiting) > WAITING_MAX:
            await self.settled()

    async def settled(self) -> None:
        """Return when all that was noted before can be read.

        Raises:
            Unavailable: it cannot be written now; it waits on.
        """
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._settlers.append(answer)
        self._wanted.set()
        self._hurried.set()
        await answer

    async def catch_up(self, shard: ShardId) -> None:
        """Write what the last owner may have left out."""
        marks = await self._session.run("audited", shard)
        bucket, after = marks[0] if marks else (0, 0)
        self._buckets.know(shard, [Offset(bucket)])
        self._marked[shard] = Offset(after)
        noted = False
        async for place, page in self._reader.pages(shard, Offset(after)):
            await self.note(shard, place, page)
            noted = True
        if noted:
            await self.settled()

    async def history(
        self, pipeline: PipelineId, after: SequenceNumber, limit: int
    ) -> Sequence[Record]:
        """See ``Journal.history``; whether it is without a gap is the caller's to check."""
        if pipeline in self._pending:
            await self.settled()
        found: list[Record] = []
        last = after + limit
        for part in range(after // rows.PART_EVENTS, (last - 1) // rows.PART_EVENTS + 1):
            page = await self._session.run("history", pipeline, part, after, last)
            found += [await self._record(pipeline, row) for row in page]
            if not page:
                break
        return found

    async def close(self) -> None:
        """Write what waits, once."""
        self._closing = True
        self._wanted.set()
        self._hurried.set()
        await self._task

    # --- writing ---------------------------------------------------------------------------------

    async def _write_rounds(self) -> None:
        while not self._closing or self._waiting:
            await self._wanted.wait()
            with suppress(TimeoutError):
                async with asyncio.timeout(GATHER_S):
                    await self._hurried.wait()
            self._wanted.clear()
            self._hurried.clear()
            taken, self._waiting = self._waiting, []
            settlers, self._settlers = self._settlers, []
            try:
                failure = await self._write(taken)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
                failure = DataFlowError(f"{self._session}: {error!r}", code=Code.INTERNAL)
                failure.__cause__ = error
            if failure is not None:
                self._waiting = [*taken, *self._waiting]
                log.warning("audit written later", records=len(self._waiting), why=str(failure))
            for settler in settlers:
                _answer(settler, failure)
            if failure is not None:
                if self._closing:
                    return
                await asyncio.sleep(RETRY_S)
                self._wanted.set()

    async def _write(self, taken: Sequence[rows.Waiting]) -> DataFlowError | None:
        """Write a round; return why not all of it could be written."""
        requests = iter(list(rows.requests(taken)))
        failures: list[DataFlowError] = []
        async with asyncio.TaskGroup() as group:
            for _ in range(IN_FLIGHT_MAX):
                group.create_task(self._write_some(requests, failures))
        if failures:
            return failures[0]
        for one in taken:
            self._pending[one.record.pipeline] -= 1
            if not self._pending[one.record.pipeline]:
                del self._pending[one.record.pipeline]
        try:
            await self._mark(taken)
        except DataFlowError as error:
            log.warning("audit not marked", why=str(error))
        return None

    async def _write_some(
        self, requests: Iterator[Sequence[rows.Request]], failures: list[DataFlowError]
    ) -> None:
        """Write chains of requests, beside others that take from the same ones."""
        for chain in requests:
            try:
                for request in chain:
                    await self._session.run_all(request)
            except DataFlowError as error:
                failures.append(error)
            if failures:
                return

    async def _mark(self, taken: Sequence[rows.Waiting]) -> None:
        """Say up to where the table is complete, now and then. AFTER its rows are durable."""
        reached = {one.shard: one for one in taken}
        for shard, one in reached.items():
            behind = one.record.offset - self._marked.get(shard, one.record.offset)
            if behind > (0 if self._closing else UNMARKED_MAX):
                offset = one.record.offset
                await self._session.run("save_audited", shard, one.bucket, offset, offset)
                self._marked[shard] = offset

    async def _record(self, pipeline: PipelineId, row: RowValues) -> Record:
        record, place = rows.to_record(pipeline, row, str(self._session))
        if place is None:
            return record
        found = await self._reader.record(*place, record.offset)
        if found is None or found.hash != record.hash:
            raise Corrupted(
                f"{self._session}, shard {place[0]}: record {record.offset}, event"
                f" {record.sequence} of pipeline {pipeline}, is missing"
            )
        return found


def _answer(settler: asyncio.Future[None], failure: DataFlowError | None) -> None:
    if settler.done():
        return
    if failure is None:
        settler.set_result(None)
    else:
        settler.set_exception(Unavailable(failure.message, code=failure.code))
