"""What travels through a task: rows with everything that must be decided together with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from dataflow.connect import Position
from dataflow.core.checkpoint import Checkpoint, Ledger
from dataflow.core.ids import SplitId
from dataflow.core.light import light, replace

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(slots=True)
class Rows:
    """A batch that a source has read, and the records of it that could not be.

    Its split is read up to ``resume_at`` once these rows are written: position and effect
    travel together, so no checkpoint can hold one without the other. ``split`` is named as the
    pipeline knows it; see ``splits.SplitNames``.
    """

    source: str
    split: SplitId
    batch: pa.RecordBatch
    resume_at: Position
    read: int
    bytes_read: int
    size: int
    """Bytes of memory that the batch keeps from being freed, or a little more."""
    skipped: int = 0
    dead: Sequence[pa.RecordBatch] = ()


@light
@dataclass(frozen=True, slots=True)
class SplitsListed:
    """A source reads these splits from now on; ``idles`` as ``connect.Operator.splits`` says."""

    source: str
    splits: Sequence[SplitId]
    idles: bool


@light
@dataclass(frozen=True, slots=True)
class SplitEnded:
    """A split has been read to its end."""

    source: str
    split: SplitId


@light
@dataclass(frozen=True, slots=True)
class RoundBegins:
    """A scheduled source is read from its beginning from here on, for the round of ``moment``."""

    source: str
    moment: datetime


@light
@dataclass(frozen=True, slots=True)
class SourceEnded:
    """A source has been read to its end; a scheduled one, in the round of ``moment``."""

    source: str
    moment: datetime | None = None


@light
@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed."""

    now: datetime


@light
@dataclass(frozen=True, slots=True)
class Replayed:
    """Dead letters that enter again, where they fell out: all that there is of one split.

    ``input`` is a transform's; what a source gives and what a sink is given has none.
    """

    step: str
    input: str
    split: SplitId
    batch: pa.RecordBatch


@dataclass(slots=True)
class Delivery:
    """What becomes of one item at one sink: rows to write, and an account of all others."""

    batches: list[tuple[SplitId, pa.RecordBatch]]
    ledger: Ledger
    size: int
    processing_s: float = 0.0


@light
@dataclass(frozen=True, slots=True)
class BarrierItem:
    """Everything before it belongs to checkpoint ``number``.

    ``moved`` is the checkpoint that the run began from, moved on by all that is before: positions,
    states, sums. ``dead`` are the letters of sources and transforms since the barrier before.
    """

    number: int
    final: bool
    moved: Checkpoint = field(default_factory=Checkpoint)
    positions: Mapping[SplitId, Position] = field(default_factory=dict)
    dead: Sequence[pa.RecordBatch] = ()

    def behind(
        self,
        moved: Checkpoint,
        positions: Mapping[SplitId, Position],
        dead: Sequence[pa.RecordBatch],
    ) -> BarrierItem:
        """Return the barrier as it leaves the transforms."""
        return replace(self, moved=moved, positions=positions, dead=dead)


Item: TypeAlias = (
    Rows | Replayed | SplitsListed | SplitEnded | RoundBegins | SourceEnded | Tick | BarrierItem
)
"""What goes into the transforms."""

Sunk: TypeAlias = Delivery | BarrierItem
"""What goes into a sink."""
