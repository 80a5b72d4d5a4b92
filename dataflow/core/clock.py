"""The only way to know what time it is; ``dataflow.app.clock`` implements it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time is for people, the steady clock for durations; neither orders anything."""

    def now(self) -> datetime:
        """Return the time of day in UTC, aware."""
        ...

    def steady(self) -> float:
        """Return seconds on a clock that never goes back and keeps counting through a pause."""
        ...
