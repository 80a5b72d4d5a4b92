"""What a task has written since it began: positions, ledger and totals of the next checkpoint."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from dataflow.connect import Position
from dataflow.core.checkpoint import Checkpoint, Ledger, SplitPosition, Totals
from dataflow.core.ids import SplitId
from dataflow.engine.items import Rows


class Tally:
    """Adds up behind the last stage, so that it holds exactly what the sink has been given."""

    def __init__(self, start: Checkpoint, sink: str) -> None:
        self._start = start
        self._sink = sink
        self._positions: dict[SplitId, Position] = {}
        self._records: dict[SplitId, int] = {}
        self._ended: set[SplitId] = set()
        self._ledger = start.ledgers.get(sink, Ledger())
        self._totals = start.totals

    def written(self, rows: Rows, now: datetime) -> None:
        """Note rows that the sink has taken."""
        dead = sum(batch.num_rows for batch in rows.dead)
        self._ledger = self._ledger.plus(
            Ledger(
                records_read=rows.read,
                records_produced=rows.produced,
                records_written=rows.batch.num_rows,
                records_filtered=rows.filtered,
                records_skipped=rows.skipped,
                records_absorbed=rows.absorbed,
                records_dead_lettered=dead,
            )
        )
        self._totals = self._totals.plus(
            Totals(
                records=rows.read,
                failed=rows.skipped + dead,
                batches=1,
                bytes_read=rows.bytes_read,
                bytes_written=rows.batch.nbytes,
                processing_us=round(rows.processing_s * 1e6),
                last_processed_at=now,
            )
        )
        self._positions[rows.split] = rows.resume_at
        self._records[rows.split] = self._records.get(rows.split, 0) + rows.read

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
        return replace(
            self._start,
            positions=positions,
            ledgers={**self._start.ledgers, self._sink: self._ledger},
            totals=self._totals,
        )

    @property
    def positions(self) -> dict[SplitId, Position]:
        """The splits read by this task, and where each stands."""
        return dict(self._positions)
