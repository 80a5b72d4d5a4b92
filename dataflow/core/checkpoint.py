"""What a checkpoint holds: everything that a run goes on from, decided in one write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from dataflow.core.errors import Corrupted
from dataflow.core.ids import Lineage, Run
from dataflow.core.light import light


@light
@dataclass(frozen=True, slots=True, order=True)
class Stamp:
    """The identity of a decision: who decided, and the how-manieth it is."""

    run: Run = Run(0)
    number: int = 0


@light
@dataclass(frozen=True, slots=True)
class SplitPosition:
    """How far one split is read: ``position`` is the connector's own, as JSON text."""

    position: str = ""
    records: int = 0
    ended: bool = False


@light
@dataclass(frozen=True, slots=True)
class Ledger:
    """What became of every record, as decided.

    records_read + records_produced = records_written + records_filtered + records_skipped
    + records_absorbed + records_dead_lettered, always.
    """

    records_read: int = 0
    records_produced: int = 0
    records_written: int = 0
    records_filtered: int = 0
    records_skipped: int = 0
    records_absorbed: int = 0
    records_dead_lettered: int = 0

    def plus(self, other: Ledger) -> Ledger:
        """Return the sum, entry by entry."""
        return Ledger(
            self.records_read + other.records_read,
            self.records_produced + other.records_produced,
            self.records_written + other.records_written,
            self.records_filtered + other.records_filtered,
            self.records_skipped + other.records_skipped,
            self.records_absorbed + other.records_absorbed,
            self.records_dead_lettered + other.records_dead_lettered,
        )

    @property
    def balances(self) -> bool:
        """Tell whether every record read or produced is accounted for, once."""
        return self.records_read + self.records_produced == (
            self.records_written
            + self.records_filtered
            + self.records_skipped
            + self.records_absorbed
            + self.records_dead_lettered
        )


@light
@dataclass(frozen=True, slots=True)
class Totals:
    """The running sums behind a pipeline's metrics; they survive a new lineage."""

    records: int = 0
    failed: int = 0
    batches: int = 0
    bytes_read: int = 0
    bytes_written: int = 0
    processing_us: int = 0
    last_processed_at: datetime | None = None

    def plus(self, other: Totals) -> Totals:
        """Return the sum; the later moment."""
        return Totals(
            records=self.records + other.records,
            failed=self.failed + other.failed,
            batches=self.batches + other.batches,
            bytes_read=self.bytes_read + other.bytes_read,
            bytes_written=self.bytes_written + other.bytes_written,
            processing_us=self.processing_us + other.processing_us,
            last_processed_at=max(
                filter(None, (self.last_processed_at, other.last_processed_at)), default=None
            ),
        )


@light
@dataclass(frozen=True, slots=True)
class LaneShare:
    """What a checkpoint has of one lane alone; the fields are those of ``Checkpoint``."""

    committables: Mapping[str, str] = field(default_factory=dict)
    ledgers: Mapping[str, Ledger] = field(default_factory=dict)
    totals: Totals = Totals()


@light
@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that recovery needs, decided in one write.

    Position = the next thing to read, by split; those of all sources stand together. ``pinned`` is
    what a source fixed for the lineage (an inferred schema), ``committables`` what each sink
    staged, both as JSON text of the connector's own models; ``states`` where steps with a memory
    keep theirs: an object. All three are by the step's name.
    """

    lineage: Lineage = Lineage(0)
    stamp: Stamp = Stamp()
    seeded: bool = False
    latest: bool = False
    positions: Mapping[str, SplitPosition] = field(default_factory=dict)
    pinned: Mapping[str, str] = field(default_factory=dict)
    committables: Mapping[str, str] = field(default_factory=dict)
    states: Mapping[str, str] = field(default_factory=dict)
    ledgers: Mapping[str, Ledger] = field(default_factory=dict)
    totals: Totals = Totals()
    decided_at: datetime | None = None
    hidden: int = 0
    """Decided rows that nobody sees before the sink has written more: in a part still open."""
    pending: bool = False
    """It was decided, and is not known to be visible: only the journal's copies say so."""
    continues: Lineage = Lineage(0)
    """The oldest lineage whose last decision this one goes on from; 0 if from none."""
    final: bool = False
    """Its run ended with it: no task has decided anything that it does not hold."""
    lanes: tuple[LaneShare, ...] = ()
    """Of a run in lanes, what each has for itself; see ``core.lanes``."""

    @property
    def is_unseen(self) -> bool:
        """Tell whether rows behind these positions would be lost were the sink another one."""
        return self.pending or self.hidden > 0


DEAD_LETTERS = "dead-letters"
"""The committable that belongs to no sink; no step of a pipeline can have this name."""


class Origin(StrEnum):
    """Where a lineage begins."""

    BEGINNING = "beginning"
    LATEST = "latest"
    POSITIONS = "positions"


@light
@dataclass(frozen=True, slots=True)
class LineageStart:
    """Where a lineage begins to read, and whether it goes on with what its sink has written.

    ``checkpoint`` holds the positions for ``Origin.POSITIONS``; without one, those last decided.
    Sources that are the same as before keep what they have pinned.
    """

    origin: Origin = Origin.BEGINNING
    checkpoint: Checkpoint | None = None
    keeps_sink: bool = True
    keeps_pins: bool = False


def starting_point(
    stored: Checkpoint | None, known: Checkpoint | None, lineage: Lineage, start: LineageStart
) -> Checkpoint:
    """Return what a run starts from: the register's decision, or the seed of a new lineage.

    Args:
        stored: what the decision register holds.
        known: the journal's copy of the latest audited decision.
        lineage: the pipeline's current one.
        start: how that lineage began.

    Raises:
        Corrupted: a decision that the journal knows of is gone or older than its copy. Starting
            at the beginning would repeat everything, so nothing starts.
    """
    if known is not None and (stored is None or stored.stamp < known.stamp):
        raise Corrupted(
            f"the journal knows of a decision {known.stamp}, but its register holds"
            f" {stored.stamp if stored else 'nothing'}"
        )
    if stored is None:
        return Checkpoint(lineage=lineage, latest=start.origin is Origin.LATEST)
    if stored.lineage == lineage:
        return stored
    begins_at = start.checkpoint or stored
    replayed = {n: at for n, at in stored.positions.items() if n.startswith(f"{DEAD_LETTERS}::")}
    kept = start.origin is Origin.POSITIONS
    is_last = kept and start.checkpoint is None and start.keeps_sink
    return Checkpoint(
        lineage=lineage,
        stamp=stored.stamp,
        latest=start.origin is Origin.LATEST,
        positions={**(begins_at.positions if kept else {}), **replayed},
        pinned=stored.pinned if start.keeps_pins else {},
        states=begins_at.states if kept else {},
        committables=_kept(stored.committables, start),
        totals=stored.totals,
        hidden=stored.hidden if start.keeps_sink else 0,
        pending=stored.pending and start.keeps_sink,
        continues=(stored.continues or stored.lineage) if is_last else Lineage(0),
        lanes=tuple(
            LaneShare(committables=_kept(lane.committables, start), totals=lane.totals)
            for lane in stored.lanes
        ),
    )


def _kept(committables: Mapping[str, str], start: LineageStart) -> Mapping[str, str]:
    """Return what a new lineage goes on with; letters go with the pipeline, whatever its sink."""
    if start.keeps_sink:
        return committables
    return {name: text for name, text in committables.items() if name == DEAD_LETTERS}
