"""When results are due before their windows have closed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta


class Early:
    """Falls due again and again, by a clock that does not jump."""

    def __init__(self, interval: timedelta, steady: Callable[[], float]) -> None:
        self._interval_s = interval.total_seconds()
        self._steady = steady
        self._next = steady() + self._interval_s

    def due(self) -> bool:
        """Tell whether the interval has passed, and begin the next one if so."""
        now = self._steady()
        if now < self._next:
            return False
        self._next = now + self._interval_s
        return True
