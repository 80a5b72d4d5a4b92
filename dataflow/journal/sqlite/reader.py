"""Reading beside the writer: two connections that can only read, each in a thread."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar
from zlib import crc32

from dataflow.core.checkpoint import Stamp
from dataflow.core.errors import Corrupted
from dataflow.core.ids import Offset, PipelineId, Run, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.contract import GENESIS, Decided, Hash, Record, Snapshot, link
from dataflow.journal.rules import check_history
from dataflow.journal.sqlite import rows
from dataflow.journal.sqlite.errors import FAILURES, translate
from dataflow.journal.sqlite.transaction import SQL

READERS = 2
"""One recovers shards at start-up while the other serves the API."""

PAGE_ROWS = 1000
PAGE_BYTES = 4 << 20
"""A page ends at whichever comes first: that bounds the memory of a reader."""

P = ParamSpec("P")
T = TypeVar("T")


class Reader:
    """Runs the functions below in its threads."""

    def __init__(self, file: Path, connect: Callable[[Path], sqlite3.Connection]) -> None:
        self._file = str(file)
        self._idle = [connect(file) for _ in range(READERS)]
        self._threads = ThreadPoolExecutor(READERS, thread_name_prefix=f"read-{file.stem}")

    async def run(
        self,
        read: Callable[Concatenate[sqlite3.Connection, str, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Call ``read(connection, file, ...)`` in a thread."""

        def work() -> T:
            connection = self._idle.pop()
            try:
                return read(connection, self._file, *args, **kwargs)
            except FAILURES as error:
                # Where it was, and not what somebody looked for: that is the caller's own.
                told = ", ".join(str(arg) for arg in args if not isinstance(arg, Mapping))
                where = f"{self._file}, {read.__name__}({told})"
                raise translate(error, where) from error
            finally:
                self._idle.append(connection)

        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def close(self) -> None:
        """Wait for what is being read, then close."""
        await asyncio.to_thread(self._threads.shutdown)
        for connection in self._idle:
            connection.close()


def hash_at(connection: sqlite3.Connection, file: str, shard: ShardId, offset: Offset) -> Hash:
    """Return the hash of the record at ``offset``, ``GENESIS`` for the place before the first."""
    if offset == 0:
        return GENESIS
    found = connection.execute(SQL["hash_at"], {"shard": shard, "offset": offset}).fetchone()
    if found is None:
        raise Corrupted(f"{file}, shard {shard}: record {offset} is missing")
    return Hash(found[0])


def page(
    connection: sqlite3.Connection, file: str, shard: ShardId, after: Offset
) -> Sequence[Record]:
    """Return the next records behind ``after``; none at the end."""
    given = {"shard": shard, "after": after, "limit": PAGE_ROWS}
    found: list[Record] = []
    size = 0
    cursor = connection.execute(SQL["read"], given)
    for row in cursor:
        found.append(rows.to_record(row, file))
        size += len(found[-1].payload)
        if size >= PAGE_BYTES:
            break
    cursor.close()
    return found


def history(
    connection: sqlite3.Connection,
    file: str,
    pipeline: PipelineId,
    after: SequenceNumber,
    *,
    limit: int,
) -> Sequence[Record]:
    """Return a pipeline's records, each checked against the one before it in its shard's log."""
    given = {"pipeline": pipeline, "after": after, "limit": limit}
    found = []
    for *row, before in connection.execute(SQL["history"], given):
        record = rows.to_record(tuple(row), file)
        head = Hash(before) if record.offset > 1 else GENESIS
        if before is None and record.offset > 1:
            raise Corrupted(f"{file}, shard {row[0]}: record {record.offset - 1} is missing")
        if record.hash != link(head, record.offset, record.payload):
            raise Corrupted(
                f"{file}, shard {row[0]}: record {record.offset} is not what was written:"
                " its hash differs"
            )
        found.append(record)
    check_history(pipeline, after, found)
    return found


def decision(connection: sqlite3.Connection, file: str, pipeline: PipelineId) -> Decided | None:
    """Return what a register holds."""
    found = connection.execute(SQL["decision"], {"pipeline": pipeline}).fetchone()
    if found is None:
        return None
    run, number, payload, mark = found
    if mark != rows.register_mark(run, number, payload):
        raise Corrupted(
            f"{file}: the register of pipeline {pipeline} is not what was written: its mark differs"
        )
    return Decided(stamp=Stamp(run=Run(run), number=number), payload=payload)


def snapshot(connection: sqlite3.Connection, file: str, shard: ShardId) -> Snapshot | None:
    """Return the newest snapshot that is whole and belongs to the log as it is.

    Another is no error: the log holds everything, a snapshot only shortens the way.
    """
    del file
    for offset, hash_, mark in connection.execute(SQL["snapshots"], {"shard": shard}).fetchall():
        given = {"shard": shard, "offset": offset}
        record = connection.execute(SQL["hash_at"], given).fetchone()
        head = GENESIS if offset == 0 else record and record[0]
        if head != hash_:
            continue
        payload = b"".join(chunk for (chunk,) in connection.execute(SQL["snapshot_chunks"], given))
        if crc32(payload) == mark:
            return Snapshot(offset=Offset(offset), hash=Hash(hash_), payload=payload)
    return None
