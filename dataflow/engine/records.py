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
    """What came out of one output of a step, and what became of the rows that came in.

    ``columns`` are names and types, ``records`` samples as JSON text; what is counted of the step
    stands at each of its outputs.
    """

    step: str
    columns: Sequence[tuple[str, str]]
    records: Sequence[str]
    filtered: int
    rejected: Sequence[DeadLetter]
    records_in: int = 0
    records_out: int = 0
    records_produced: int = 0
    records_absorbed: int = 0
