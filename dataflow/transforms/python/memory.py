"""How much memory a process tree holds."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_PAGE = os.sysconf("SC_PAGE_SIZE")


def resident(keeper: int) -> int:
    """Return the bytes that all below a process hold, itself left out.

    What several of them share, as a child does with whoever forked it, counts once for each.
    """
    total = 0
    waiting = list(_children(keeper))
    while waiting:
        pid = waiting.pop()
        with suppress(OSError, IndexError, ValueError):  # it has ended meanwhile
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
        waiting += _children(pid)
    return total


def _children(pid: int) -> Iterator[int]:
    with suppress(OSError):  # it has ended meanwhile
        for task in Path(f"/proc/{pid}/task").iterdir():
            yield from map(int, (task / "children").read_text().split())
