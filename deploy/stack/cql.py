"""As much of Cassandra's native protocol (version 4) as a ready check needs."""

from __future__ import annotations

import socket
import struct

_STARTUP, _ERROR, _QUERY = 1, 0, 7
_ONE = 1
_VERSION = 4
_TIMEOUT_S = 2.0


def answers(host: str, port: int) -> bool:
    """Return True once a node answers what it is asked.

    Raises:
        OSError: it does not answer yet.
    """
    with socket.create_connection((host, port), _TIMEOUT_S) as connection:
        option = _short(b"CQL_VERSION") + _short(b"3.0.0")
        _ask(connection, _STARTUP, struct.pack(">H", 1) + option)
        query = b"SELECT key FROM system.local"
        body = struct.pack(">i", len(query)) + query + struct.pack(">HB", _ONE, 0)
        _ask(connection, _QUERY, body)
        return True


def _ask(connection: socket.socket, opcode: int, body: bytes) -> None:
    connection.sendall(struct.pack(">BBhBi", _VERSION, 0, 0, opcode, len(body)) + body)
    *_, answered, size = struct.unpack(">BBhBi", _receive(connection, 9))
    answer = _receive(connection, size)
    if answered == _ERROR:
        raise ConnectionError(answer.decode(errors="replace"))


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        if not (more := connection.recv(size - len(received))):
            raise ConnectionError("closed")
        received += more
    return received


def _short(text: bytes) -> bytes:
    return struct.pack(">H", len(text)) + text
