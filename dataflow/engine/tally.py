"""What a task has done since it began: positions, sums and ledgers of the next checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from dataflow.connect import Position
from dataflow.connect.gathering import SMALL_BYTES, Gathered
from dataflow.core.checkpoint import Checkpoint, Ledger, SplitPosition, Totals
from dataflow.core.ids import SplitId
from dataflow.core.light import replace
from dataflow.engine.items import (
    BarrierItem,
    Item,
    Replayed,
    RoundBegins,
    Rows,
    SourceEnded,
    SplitEnded,
)

if TYPE_CHECKING:
    import pyarrow as pa

    from dataflow.engine.splits import SplitNames

SMALL_ROWS = 100
"""Batches of fewer are measured together: to copy them takes less than to measure each."""


class Progressed:
    """Adds up what has gone through the transforms: where each split stands, and the sums."""

    def __init__(self, start: Checkpoint) -> None:
        self._start = start
        self._positions: dict[SplitId, Position] = {}
        self._records: dict[SplitId, int] = {}
        self._ended: set[SplitId] = set()
        self._read = self._failed = self._batches = self._bytes_read = 0
        self._processing_s = 0.0
        self._dead: list[pa.RecordBatch] = []
        self.dead_bytes = 0
        """Of the dead letters that wait in memory for the next checkpoint."""

    def read(self, rows: Rows) -> None:
        """Note rows of a source that the transforms have been given."""
        self._positions[rows.split] = rows.resume_at
        self._records[rows.split] = self._records.get(rows.split, 0) + rows.read
        self._read += rows.read
        self._batches += rows.read > 0
        self._bytes_read += rows.bytes_read
        self.refused(rows.skipped, rows.dead)

    def replayed(self, item: Replayed) -> None:
        """Note dead letters that the transforms have been given again, all of their split."""
        self._records[item.split] = item.batch.num_rows
        self._ended.add(item.split)
        self._read += item.batch.num_rows
        self._batches += 1

    def forget(self, splits: Iterable[SplitId]) -> None:
        """Say nothing more of splits that are read to their ends and will not come again."""
        gone = set(splits)
        self._ended -= gone
        kept = {name: at for name, at in self._start.positions.items() if name not in gone}
        self._start = replace(self._start, positions=kept)

    def refused(self, skipped: int, dead: Sequence[pa.RecordBatch]) -> None:
        """Note records that a source or transform could not handle; letters wait for a barrier."""
        self._failed += skipped + sum(batch.num_rows for batch in dead)
        self._dead += dead
        self.dead_bytes += sum(batch.nbytes for batch in dead)

    def took(self, processing_s: float) -> None:
        """Note the time that the transforms took for an item."""
        self._processing_s += processing_s

    def note(self, item: Item, named: Callable[[str], SplitNames]) -> None:
        """Note what an item says of splits and rounds; ``named`` has the names of a source's."""
        match item:
            case Replayed():
                self.replayed(item)
            case SplitEnded():
                self.ended(item.split)
            case RoundBegins():
                self._begin_round(named(item.source), item.moment)
            case SourceEnded(moment=datetime() as moment):
                self._note_round(named(item.source), moment, ended=True)
            case _:
                pass

    def ended(self, split: SplitId) -> None:
        """Note that a split has been read to its end."""
        self._ended.add(split)

    def _begin_round(self, names: SplitNames, moment: datetime) -> None:
        """Let a scheduled source begin anew; its records are counted on."""
        begun = {
            split: before if names.own(split) is None else SplitPosition(records=before.records)
            for split, before in self._moved().items()
        }
        self._start = replace(self._start, positions=begun)
        self._positions, self._records, self._ended = {}, {}, set()
        self._note_round(names, moment, ended=False)

    def _note_round(self, names: SplitNames, moment: datetime, *, ended: bool) -> None:
        position = SplitPosition(position=moment.isoformat(), ended=ended)
        positions = {**self._start.positions, names.rounds: position}
        self._start = replace(self._start, positions=positions)

    def close(self, barrier: BarrierItem) -> BarrierItem:
        """Return a barrier with everything noted so far; the letters are its own from now on."""
        dead, self._dead, self.dead_bytes = self._dead, [], 0
        totals = self._start.totals.plus(self._totals())
        moved_on = replace(self._start, positions=self._moved(), totals=totals)
        return barrier.behind(moved_on, dict(self._positions), dead)

    def _moved(self) -> Mapping[str, SplitPosition]:
        """Return where each split stands.

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
        return positions

    def _totals(self) -> Totals:
        return Totals(
            records=self._read,
            failed=self._failed,
            batches=self._batches,
            bytes_read=self._bytes_read,
            processing_us=round(self._processing_s * 1e6),
        )


class Tally:
    """Adds up behind one sink, so that it holds exactly what the sink has been given."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._rows = self._failed = self._bytes_written = 0
        self._unmeasured = Gathered(SMALL_ROWS, SMALL_BYTES)
        self._processing_s = 0.0
        self._last: datetime | None = None

    def account(self, ledger: Ledger) -> None:
        """Note what became of records on their way to the sink."""
        self._ledger = self._ledger.plus(ledger)

    def written(self, batch: pa.RecordBatch) -> None:
        """Note rows that the sink has taken."""
        self._rows += batch.num_rows
        if batch.num_rows >= SMALL_ROWS:
            self._bytes_written += batch.nbytes
        else:  # together, for Arrow takes 18 us each to tell
            self._bytes_written += sum(b.nbytes for b in self._unmeasured.add(batch))

    def refused(self, skipped: int, dead: int) -> None:
        """Note rows that the sink has refused."""
        self._failed += skipped + dead
        self.account(Ledger(records_skipped=skipped, records_dead_lettered=dead))

    def took(self, processing_s: float, now: datetime | None) -> None:
        """Note the time that an item took, and when it was done if records were in it."""
        self._processing_s += processing_s
        self._last = now or self._last

    @property
    def ledger(self) -> Ledger:
        """What became of every record, from the beginning of the lineage on."""
        return self._ledger.plus(Ledger(records_written=self._rows))

    def totals(self) -> Totals:
        """Return the sink's share in the sums of the task, since it began."""
        self._bytes_written += sum(batch.nbytes for batch in self._unmeasured.take())
        return Totals(
            failed=self._failed,
            bytes_written=self._bytes_written,
            processing_us=round(self._processing_s * 1e6),
            last_processed_at=self._last,
        )
