"""Records as people are shown them; nothing here knows Arrow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that a step could not handle, why, and where it came from."""

    step: str
    split: str
    ordinal: int
    record: str
    error: str
    time: datetime


@dataclass(frozen=True, slots=True)
class PreviewStep:
    """What came out of one step; ``columns`` are names and types, ``records`` JSON text."""

    step: str
    columns: Sequence[tuple[str, str]]
    records: Sequence[str]
    filtered: int
    rejected: Sequence[DeadLetter]
