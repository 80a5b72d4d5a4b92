"""Ports of the loopback interface: free ones for private servers, checked ones for shared ones.

A port from ``bind(0)`` is anybody's again as soon as it is known, and the system may give it to an
outgoing connection while a killed server is down. These come from below the range that the system
gives away (32768 and up, Linux's default), and a lock file keeps other test processes off them.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket

from deploy.stack.errors import PortTaken
from deploy.stack.places import cache

LOOPBACK = "127.0.0.1"
FIRST, LAST = 20_000, 29_999
"""Below what Linux gives to outgoing connections, and apart from the shared servers' ports."""

_held: list[int] = []
"""Descriptors of the lock files: this process keeps its ports until it ends."""


def free_ports(count: int) -> list[int]:
    """Return ports that nobody uses; they stay this process's own.

    Raises:
        PortTaken: there are not that many.
    """
    folder = cache() / "ports"  # not in the state, which tests replace
    folder.mkdir(parents=True, exist_ok=True)
    size = LAST - FIRST + 1
    begin = (os.getpid() * 37 + len(_held)) % size  # neighbours seldom ask for the same
    found: list[int] = []
    for step in range(size):
        port = FIRST + (begin + step) % size
        descriptor = os.open(folder / str(port), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            continue
        if not is_free(LOOPBACK, port):
            os.close(descriptor)
            continue
        _held.append(descriptor)
        found.append(port)
        if len(found) == count:
            return found
    raise PortTaken(f"no {count} free ports between {FIRST} and {LAST}")


def is_free(host: str, port: int) -> bool:
    """Tell whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as taken:
            if taken.errno != errno.EADDRINUSE:
                raise
            return False
    return True
