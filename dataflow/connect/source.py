"""The contract of a source: list splits, and read one split from a position.

An author writes ``splits`` and ``read``. ``read`` is an async generator, so that opening, reading,
back-pressure, end of input and cleaning up are the parts of one ``with``/``yield`` block.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from dataflow.connect.model import Pinned, Position
from dataflow.core.errors import Rejected
from dataflow.core.ids import SplitId

if TYPE_CHECKING:
    import pyarrow as pa

PositionT = TypeVar("PositionT", bound=Position)
PinnedT = TypeVar("PinnedT", bound=Pinned)


@dataclass(frozen=True, slots=True)
class Split:
    """One part of a source that is read in order by one task, for example a file."""

    id: SplitId


@dataclass(frozen=True, slots=True)
class Chunk(Generic[PositionT]):
    """Rows, and where to resume after them. They travel together, so they cannot drift apart.

    Attributes:
        batch: the records that could be read; without any, and none rejected, the position alone
            moves on.
        resume_at: the next thing to read.
        rejected: the records that could not be read, with ``REJECTED_COLUMNS``; their
            ``index`` counts all records of this chunk, good and bad, from 0 in reading order.
        bytes_read: of the input, for metrics.
    """

    batch: pa.RecordBatch
    resume_at: PositionT
    rejected: pa.RecordBatch | None = None
    bytes_read: int = 0


REJECTED_COLUMNS = ("index", "record", "error")
"""int64, large_string, large_string: which record, what it was (text, or JSON of its columns),
and why it was refused."""


class Source(ABC, Generic[PositionT, PinnedT]):
    """A place to read rows from. One instance serves one run."""

    bounded: bool = True
    """Whether the splits listed at the start are all there will be, and each of them ends.

    Of an unbounded source ``splits`` is asked again every poll interval, unless they are fixed.
    """

    at_once: bool = False
    """Whether splits that end are read all at once, not one after the other."""

    fixed: bool = False
    """Whether ``splits`` lists the same ones for as long as a run lasts."""

    resumes: bool = False
    """Set by the engine BEFORE ``open``: a split has a position, which ``read`` will start from.

    A lineage may go on from the positions of the one before and have pinned nothing yet: what
    upstream holds for them must not be begun anew.
    """

    reads: Callable[[SplitId], bool] | None = None
    """Set by the engine BEFORE ``open``, where splits are shared among tasks; see ``is_mine``."""

    async def open(self, pinned: PinnedT | None) -> PinnedT | None:
        """Get ready, and return what holds for the whole lineage, decided before its first row.

        ``pinned`` is what an earlier run of the lineage returned; then return the same.

        Raises:
            Waiting: what it reads is not there yet; asked again after the poll interval.
            Rejected: it can never be read as configured.
        """
        return pinned

    def is_mine(self, split: Split) -> bool:
        """Tell whether this task reads a split; another one may, where there are several."""
        return self.reads is None or self.reads(split.id)

    @abstractmethod
    async def splits(self) -> Sequence[Split]:
        """List the splits there are now; the order is the order of reading."""

    @abstractmethod
    def read(self, split: Split, start: PositionT | None) -> AsyncGenerator[Chunk[PositionT], None]:
        """Yield the rows of ``split`` from ``start`` (or its beginning), in order.

        Returning ends a split. An idle source just waits: a checkpoint never interrupts a read.
        Stopping does, where the generator awaits or yields, so whatever it opened belongs in a
        ``with`` block. Schemas of all batches of a lineage are equal. Blocking work goes to a
        thread; a batch takes a few MiB at most, for the channels behind hold several.

        Raises:
            Waiting: it is not there at the moment; read again after the poll interval.
            Unavailable: the engine retries from the last decision.
            Rejected: the pipeline fails, for example on a position that no longer exists.
        """

    async def latest(self, split: Split) -> PositionT:
        """Return the position after everything there is now.

        Raises:
            Rejected: this source has no end to start at.
        """
        raise Rejected(f"{split.id}: this source cannot start at its latest record")

    async def grown(self, split: Split, position: PositionT | None) -> bool:  # noqa: ARG002 - theirs
        """Tell whether a split that an earlier run has read to its end holds more now.

        Asked once a run, before the split would be passed over.
        """
        return False

    async def gone(self, split: Split, position: PositionT) -> None:
        """Say what it means that a split is not listed which an earlier run was in the middle of.

        The engine asks once a run, before it reads anything, about each split that it has records
        of and has not read to its end. Returning passes over it, unless ``splits`` lists it then.

        Raises:
            Waiting: it has to come back; asked again after the poll interval.
            Rejected: what had not been read of it is lost, and the pipeline fails.
        """

    async def acknowledge(self, split: Split, position: PositionT) -> None:
        """Take note that everything before ``position`` is decided; upstream may forget it.

        Optional. A crash can skip a call; the next one covers it.
        """

    async def lag(self) -> tuple[int, int]:
        """Return records and bytes known to wait unread; -1 for what cannot be known.

        Of splits that are another task's, see ``is_mine``, nothing waits here.
        """
        return -1, -1

    async def close(self) -> None:
        """Release what ``open`` took. Called once, also after an error."""
