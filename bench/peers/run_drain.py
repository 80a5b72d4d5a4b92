"""A replication slot's changes to nowhere, undecoded: what ``pg_recvlogical -f /dev/null`` does.

``python -m bench.peers.run_drain DATABASE SLOT PUBLICATION CHANGES``.
"""

from __future__ import annotations

import select
import struct
import sys

import psycopg
from psycopg.pq import ExecStatus

from bench.peers.timing import measured

INSERT = ord("I")
HEADER = 25
"""Bytes before the content of ``XLogData``."""

STATUS = struct.Struct("!cQQQq?")
FEEDBACK_EVERY = 10_000


def drain(database: str, slot: str, publication: str, changes: int) -> None:
    """Receive so many insertions."""
    connection = psycopg.connect(database, autocommit=True, replication="database")
    libpq = connection.pgconn
    options = f"proto_version '1', publication_names '{publication}'"
    started = libpq.exec_(f'START_REPLICATION SLOT "{slot}" LOGICAL 0/0 ({options})'.encode())
    if started.status != ExecStatus.COPY_BOTH:
        raise SystemExit(started.get_error_message())
    libpq.nonblocking = 0
    seen = 0
    while seen < changes:
        size, data = libpq.get_copy_data(1)
        if size < 0:
            raise SystemExit("the server has ended the stream")
        if size == 0:
            select.select([libpq.socket], [], [], 1.0)
            libpq.consume_input()
        elif data[0] == ord("w") and data[HEADER] == INSERT:
            seen += 1
            if seen % FEEDBACK_EVERY == 0:
                (at,) = struct.unpack_from("!Q", data, 1)
                libpq.put_copy_data(STATUS.pack(b"r", at, at, at, 0, False))
                libpq.flush()
    connection.close()


if __name__ == "__main__":
    asked = sys.argv[1:]
    measured(lambda: drain(asked[0], asked[1], asked[2], int(asked[3])))
