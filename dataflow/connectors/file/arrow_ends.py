"""How files of Arrow's IPC format begin and end, by which a whole one is told. Imports no Arrow."""

from __future__ import annotations

MAGIC = b"ARROW1"
"""Around a file with a footer."""

CONTINUED = b"\xff\xff\xff\xff"
"""Before each message of a stream, since format version 0.15."""

END = CONTINUED + b"\0\0\0\0"
"""Of a stream. The format lets a stream do without; in a file, a cut one could not be told then."""


def begins(begin: bytes) -> bool:
    """Tell whether a file that begins so is meant for one of Arrow's."""
    return begin.startswith((MAGIC, CONTINUED))


def is_file(begin: bytes, end: bytes) -> bool:
    """Tell whether a file is a whole one with a footer."""
    return begin.startswith(MAGIC) and end.endswith(MAGIC)


def is_stream(begin: bytes, end: bytes) -> bool:
    """Tell whether a file is a stream with its end."""
    return begin.startswith(CONTINUED) and end.endswith(END)
