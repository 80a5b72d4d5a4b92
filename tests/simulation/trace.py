"""What happened in a simulation, in order: kept as values, put into words only when asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

LINES_SHOWN = 400
"""Of a failing run; the rest is had by running the seed again with ``--trace``."""


class Trace:
    """The steps of one run: virtual time, process, what it did or what befell it."""

    def __init__(self) -> None:
        self._lines: list[tuple[float, str, str, tuple[Any, ...]]] = []

    def add(self, now_s: float, process: str, what: str, *about: Any) -> None:
        """Note a step."""
        self._lines.append((now_s, process, what, about))

    def __len__(self) -> int:
        return len(self._lines)

    def lines(self) -> Iterator[str]:
        """Yield each step as a line of text."""
        for now_s, process, what, about in self._lines:
            yield f"{now_s:9.3f}  {process:<12} {what} {' '.join(map(str, about))}".rstrip()

    def tail(self, count: int = LINES_SHOWN) -> list[str]:
        """Return the last lines."""
        kept = self._lines
        self._lines = kept[-count:]
        try:
            return list(self.lines())
        finally:
            self._lines = kept

    def digest(self) -> str:
        """Return a hash of every step: equal digests mean equal runs."""
        found = hashlib.sha256()
        for line in self.lines():
            found.update(line.encode())
        return found.hexdigest()
