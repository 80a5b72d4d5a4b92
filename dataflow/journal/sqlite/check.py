"""Whether the log is what was written, from its end back as far as a start can wait for it.

A snapshot lets a start pass over the records that it covers, so their damage would show when
somebody asks for the history: perhaps never, and by then behind new events. What is older than
the limits is checked when it is read.
"""

from __future__ import annotations

import sqlite3

from dataflow.core.errors import Corrupted
from dataflow.core.ids import Offset, ShardId
from dataflow.journal.contract import Record, check_chain
from dataflow.journal.sqlite import reader, rows
from dataflow.journal.sqlite.transaction import SQL

RECORDS_MAX = 50_000
BYTES_MAX = 128 << 20
"""Whichever comes first; 50,000 records of 400 B were measured at 0.4 s."""


def check_log(connection: sqlite3.Connection, file: str) -> None:
    """Check the newest records, each against the one before it in its shard's log.

    Raises:
        Corrupted: one is damaged or missing; says which.
    """
    following: dict[int, Record] = {}
    size = 0
    cursor = connection.execute(SQL["newest"], {"limit": RECORDS_MAX})
    for row in cursor:
        record = rows.to_record(row, file)
        after = following.get(row[0])
        if after is not None and (problem := check_chain(record.hash, record.offset, [after])):
            raise _damaged(file, row[0], problem)
        following[row[0]] = record
        size += len(record.payload)
        if size >= BYTES_MAX:
            break
    cursor.close()
    for shard, oldest in following.items():
        before = Offset(oldest.offset - 1)
        head = reader.hash_at(connection, file, ShardId(shard), before)
        if problem := check_chain(head, before, [oldest]):
            raise _damaged(file, shard, problem)


def _damaged(file: str, shard: int, problem: str) -> Corrupted:
    return Corrupted(f"{file}, shard {shard}: {problem}; restore it from a backup")
