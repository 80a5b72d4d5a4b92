"""The end of the driver's errors and of the system's: they become ``dataflow.core.errors``."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from dataflow.core.errors import Code, Corrupted, DataFlowError, Unavailable

_PRIMARY = 0xFF
"""The low byte of a result code is its class (sqlite.org/rescode.html)."""

_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_FORBIDDEN = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_AUTH}
)


FAILURES = (sqlite3.Error, UnicodeDecodeError)
"""What the driver raises: the second for a damaged text, in a row or in an error's own message."""


def translate(
    error: sqlite3.Error | UnicodeDecodeError, where: str, *, committing: bool = False
) -> DataFlowError:
    """Return what a driver's error means for the caller.

    Args:
        error: as the driver raised it. One without a code is its own: a value it could not read.
        where: the file, and shard and offset where they are known.
        committing: it came from COMMIT. A full disk then still means that nothing is committed,
            for the commit mark is the last thing written; after any other error it may be there.
    """
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & _PRIMARY
    if code in _CORRUPT:
        return Corrupted(f"{where}: {error}; restore it from a backup")
    if code == sqlite3.SQLITE_FULL:
        return Unavailable(
            f"{where}: the disk is full; make room, nothing was written", code=Code.STORAGE
        )
    if committing:
        return Unavailable(
            f"{where}: {error} while committing; it may have been written, ask again",
            code=Code.OUTCOME_UNKNOWN,
        )
    if code in _FORBIDDEN:
        return Unavailable(
            f"{where}: {error}; this user must be able to write the file and its folder",
            code=Code.STORAGE,
        )
    return Unavailable(f"{where}: {error}", code=Code.STORAGE)


def unusable(error: OSError, file: Path) -> Unavailable:
    """Return what it means that the system does not let this process have a file."""
    return Unavailable(
        f"{error.filename or file}: {error.strerror}; this user must be able to read and write the"
        " file and its folder",
        code=Code.STORAGE,
    )
