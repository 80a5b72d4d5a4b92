"""A session of the streaming protocol: what the server sends, and what it is told.

https://www.postgresql.org/docs/15/protocol-replication.html

By libpq alone. psycopg2 has a cursor for it, which tells the server on its own that all may be
forgotten that it says it has passed (``pq_read_replication_message``), be that decided or not.
"""

from __future__ import annotations

import struct

import psycopg
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus

from dataflow.connectors.postgres.names import literal, quoted

OPTIONS = (
    "-c TimeZone=UTC -c DateStyle=ISO -c IntervalStyle=postgres -c bytea_output=hex"
    " -c extra_float_digits=1"
)
"""How values are written."""

CONNECT_S = 10

_DATA, _KEEPALIVE = b"wk"
_HEADER = 25
"""Bytes before the content of ``XLogData``."""

_STATUS = struct.Struct("!cQQQq?")
"""Written, flushed, applied, the time, whether to answer."""


def shown(lsn: int) -> str:
    """Return a position in the log as PostgreSQL writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


class Replication:
    """Changes of one slot. Not for two threads at once; raises ``psycopg.Error``.

    Attributes:
        passed: everything before this position has come, as far as there is anything of ours.
    """

    def __init__(self, url: str, name: str) -> None:
        self._connection = psycopg.connect(
            url,
            autocommit=True,
            replication="database",
            application_name=name,
            client_encoding="UTF8",
            options=OPTIONS,
            connect_timeout=CONNECT_S,
        )
        self._libpq = self._connection.pgconn
        self._told = 0
        self.passed = 0

    def start(self, slot: str, publication: str, lsn: int) -> None:
        """Have changes sent from a position on."""
        options = f"proto_version '1', publication_names {literal(quoted(publication))}"
        command = f"START_REPLICATION SLOT {quoted(slot)} LOGICAL {shown(lsn)} ({options})"
        result = self._libpq.exec_(command.encode())
        if result.status != ExecStatus.COPY_BOTH:
            raise error_from_result(result)
        self._libpq.nonblocking = 0

    @property
    def socket(self) -> int:
        """What to wait at when nothing is there."""
        return self._libpq.socket

    def next(self) -> bytes | None:
        """Return the next message of the slot's plug-in, or None if there is none yet."""
        is_read = False
        while True:
            size, data = self._libpq.get_copy_data(1)
            if size > 0:
                if data[0] == _DATA:
                    return bytes(data[_HEADER:])
                if data[0] == _KEEPALIVE:
                    self._keep_alive(data)
            elif size < 0:
                raise self._ended()
            elif is_read:
                return None
            else:
                self._libpq.consume_input()
                is_read = True

    def tell(self, lsn: int, *, asks: bool = False) -> None:
        """Tell the server that it may forget what is before a position, and that this side lives.

        Args:
            lsn: the position.
            asks: for an answer, which says what has been passed.
        """
        self._told = lsn
        self._libpq.put_copy_data(_STATUS.pack(b"r", lsn, lsn, lsn, 0, asks))
        self._libpq.flush()

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    def _keep_alive(self, data: bytes | memoryview) -> None:
        passed, _, asked = struct.unpack_from("!QQ?", data, 1)
        self.passed = max(self.passed, passed)
        if asked:
            self.tell(self._told)

    def _ended(self) -> psycopg.Error:
        result = self._libpq.get_result()
        if result is not None and result.status == ExecStatus.FATAL_ERROR:
            return error_from_result(result)
        return psycopg.OperationalError("the server has ended the stream")
