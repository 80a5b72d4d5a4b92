"""Where the servers live outside the work tree, so that every checkout of a machine shares them.

``STACK_CACHE`` (downloads and builds, may be deleted at any time) and ``STACK_STATE`` (data, logs,
locks) override the places that the XDG base directory specification names.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = "dataflow-stack"


def cache() -> Path:
    """Return the folder of downloads and builds."""
    return _place("STACK_CACHE", "XDG_CACHE_HOME", ".cache")


def state() -> Path:
    """Return the folder of what the servers write."""
    return _place("STACK_STATE", "XDG_STATE_HOME", ".local/state")


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that one process of the machine has at a time.

    Its descriptor is closed in every program that is started meanwhile: a server that inherited
    it would hold the lock for as long as it runs.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _place(own: str, base: str, default: str) -> Path:
    if chosen := os.environ.get(own):
        return Path(chosen).absolute()
    return Path(os.environ.get(base) or Path.home() / default) / NAME
