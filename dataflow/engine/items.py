"""What travels through a task: rows with everything that must be decided together with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from dataflow.connect import Position
from dataflow.core.ids import SplitId

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(slots=True)
class Rows:
    """A batch on its way, and what became of the records that are no longer in it.

    Its split is read up to ``resume_at`` once these rows are written: position and effect
    travel together, so no checkpoint can hold one without the other.
    """

    split: SplitId
    batch: pa.RecordBatch
    resume_at: Position
    read: int
    bytes_read: int
    size: int
    """Bytes of memory that the batch keeps from being freed, or a little more."""
    produced: int = 0
    filtered: int = 0
    skipped: int = 0
    absorbed: int = 0
    processing_s: float = 0.0
    dead: list[pa.RecordBatch] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SplitEnded:
    """A split has been read to its end."""

    split: SplitId


@dataclass(frozen=True, slots=True)
class BarrierItem:
    """Everything before it belongs to checkpoint ``number``."""

    number: int
    final: bool
    states: Mapping[str, str] = field(default_factory=dict)


Item: TypeAlias = Rows | SplitEnded | BarrierItem
