"""What one step did with one item."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataflow.connect import Output, Rejected
from dataflow.core.errors import Code
from dataflow.engine.rejects import Refused

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(slots=True)
class Passed:
    """Counts of one step; ``out`` are the rows at each of its outputs."""

    read: int = 0
    """Records that a source read, those included that it could not."""
    taken: int = 0
    produced: int = 0
    filtered: int = 0
    skipped: int = 0
    absorbed: int = 0
    dead: list[pa.RecordBatch] = field(default_factory=list)
    out: dict[str, int] = field(default_factory=dict)

    @property
    def dead_count(self) -> int:
        """Return how many letters there are."""
        return sum(batch.num_rows for batch in self.dead)

    def add(self, taken: int, output: Output, refused: Refused) -> None:
        """Note what came of some rows.

        Raises:
            Rejected: with code ``INTERNAL``; the step gives no account of some.
        """
        self.taken += taken
        self.produced += output.produced
        self.filtered += output.filtered
        self.absorbed += output.absorbed
        self.refused(refused)
        left = output.filtered + output.absorbed
        left += output.rejected.num_rows if output.rejected is not None else 0
        for name, batch in output.batches.items():
            self.out[name] = self.out.get(name, 0) + batch.num_rows
            left += batch.num_rows
        if taken + output.produced != left:
            raise Rejected(
                f"{taken} rows went in, {output.produced} were produced, but {left} came out",
                code=Code.INTERNAL,
            )

    def plus(self, other: Passed) -> None:
        """Add what the step did with another item."""
        self.read += other.read
        self.taken += other.taken
        self.produced += other.produced
        self.filtered += other.filtered
        self.skipped += other.skipped
        self.absorbed += other.absorbed
        self.dead += other.dead
        for name, rows in other.out.items():
            self.out[name] = self.out.get(name, 0) + rows

    def refused(self, refused: Refused) -> None:
        """Note rows that were refused."""
        self.skipped += refused.skipped
        self.dead += refused.dead
