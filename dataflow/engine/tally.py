"""What a task has written since it began: positions, ledger and totals of the next checkpoint."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from dataflow.connect import Position
from dataflow.connect.gathering import SMALL_BYTES, Gathered
from dataflow.core.checkpoint import Checkpoint, Ledger, SplitPosition, Totals
from dataflow.core.ids import SplitId
from dataflow.engine.items import Rows

if TYPE_CHECKING:
    import pyarrow as pa

SMALL_ROWS = 100
"""Batches of fewer are measured together: to copy them takes less than to measure each."""


class Tally:
    """Adds up behind the last stage, so that it holds exactly what the sink has been given."""

    def __init__(self, start: Checkpoint, sink: str) -> None:
        self._start = start
        self._sink = sink
        self._positions: dict[SplitId, Position] = {}
        self._records: dict[SplitId, int] = {}
        self._ended: set[SplitId] = set()
        self._read = self._produced = self._written = self._filtered = 0
        self._skipped = self._absorbed = self._dead = 0
        self._batches = self._bytes_read = self._bytes_written = 0
        self._unmeasured = Gathered(SMALL_ROWS, SMALL_BYTES)
        self._processing_s = 0.0
        self._last: datetime | None = None

    def written(self, rows: Rows, now: datetime) -> None:
        """Note rows that the sink has taken."""
        self._read += rows.read
        self._produced += rows.produced
        self._written += rows.batch.num_rows
        self._filtered += rows.filtered
        self._skipped += rows.skipped
        self._absorbed += rows.absorbed
        self._dead += sum(batch.num_rows for batch in rows.dead)
        if rows.read or rows.produced:
            self._batches += 1
            self._last = now
        self._bytes_read += rows.bytes_read
        self._measure(rows.batch)
        self._processing_s += rows.processing_s
        self._positions[rows.split] = rows.resume_at
        self._records[rows.split] = self._records.get(rows.split, 0) + rows.read

    def _measure(self, batch: pa.RecordBatch) -> None:
        """Count bytes; those of small batches together, for Arrow takes 18 us each to tell."""
        if batch.num_rows >= SMALL_ROWS:
            self._bytes_written += batch.nbytes
        else:
            self._bytes_written += sum(b.nbytes for b in self._unmeasured.add(batch))

    def ended(self, split: SplitId) -> None:
        """Note that a split has been read to its end."""
        self._ended.add(split)

    def checkpoint(self) -> Checkpoint:
        """Return the start as moved on by everything noted, without what sinks have staged.

        A split that had ended and has grown is open again until its new end.
        """
        positions = dict(self._start.positions)
        for split in self._positions.keys() | self._ended:
            before = positions.get(split, SplitPosition())
            moved = self._positions.get(split)
            positions[split] = SplitPosition(
                position=moved.model_dump_json() if moved is not None else before.position,
                records=before.records + self._records.get(split, 0),
                ended=split in self._ended or (before.ended and moved is None),
            )
        ledger = self._start.ledgers.get(self._sink, Ledger())
        return replace(
            self._start,
            positions=positions,
            ledgers={**self._start.ledgers, self._sink: ledger.plus(self._ledger())},
            totals=self._start.totals.plus(self._totals()),
        )

    def _ledger(self) -> Ledger:
        return Ledger(
            records_read=self._read,
            records_produced=self._produced,
            records_written=self._written,
            records_filtered=self._filtered,
            records_skipped=self._skipped,
            records_absorbed=self._absorbed,
            records_dead_lettered=self._dead,
        )

    def _totals(self) -> Totals:
        self._bytes_written += sum(batch.nbytes for batch in self._unmeasured.take())
        return Totals(
            records=self._read,
            failed=self._skipped + self._dead,
            batches=self._batches,
            bytes_read=self._bytes_read,
            bytes_written=self._bytes_written,
            processing_us=round(self._processing_s * 1e6),
            last_processed_at=self._last,
        )

    @property
    def positions(self) -> dict[SplitId, Position]:
        """The splits read by this task, and where each stands."""
        return dict(self._positions)
