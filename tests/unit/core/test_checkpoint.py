"""The owner's side of a checkpoint, as a table; and where a run may begin."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dataflow.core.checkpoint import (
    Checkpoint,
    Ledger,
    LineageStart,
    Origin,
    SplitPosition,
    Stamp,
    Totals,
    starting_point,
)
from dataflow.core.errors import Corrupted
from dataflow.core.ids import Lineage, Run
from dataflow.core.protocol import Effect, Input, Protocol, Step, next_tick

READ = {"a": SplitPosition('{"byte":9}', 3)}
STORED = Checkpoint(
    lineage=Lineage(1),
    stamp=Stamp(Run(4), 7),
    seeded=True,
    positions=READ,
    pinned={"source": "{}"},
    committables={"sink": "staged"},
    ledgers={"sink": Ledger(records_read=3, records_written=3)},
    totals=Totals(records=3),
)


def walk(protocol: Protocol, *events: Input) -> tuple[Protocol, list[Effect]]:
    """Feed events in; return where it ends and what it asked for on the way."""
    effects = []
    for event in events:
        protocol, effect = protocol.after(event)
        effects.append(effect)
    return protocol, effects


def test_a_run_claims_opens_and_checkpoints() -> None:
    """The order is the guarantee: nothing is told before it is decided."""
    protocol, effects = walk(
        Protocol(number=7),
        Input.CLAIMED,
        Input.OPENED,
        Input.DUE,
        Input.PREPARED,
        Input.ACCEPTED,
        Input.COMMITTED,
    )
    assert effects == [
        Effect.RUN,
        Effect.NOTHING,
        Effect.BARRIER,
        Effect.DECIDE,
        Effect.TELL_DECIDED,
        Effect.NOTHING,
    ]
    assert (protocol.step, protocol.number) == (Step.READING, 8)


def test_a_last_checkpoint_ends_the_run_once_it_is_visible() -> None:
    """Stopped must mean that everything decided can be seen."""
    protocol, effects = walk(
        Protocol(step=Step.READING).ask_last(),
        Input.DUE,
        Input.PREPARED,
        Input.ACCEPTED,
        Input.COMMITTED,
    )
    assert effects[-1] is Effect.END
    assert protocol.step is Step.ENDED


def test_a_stop_during_a_checkpoint_waits_for_the_next() -> None:
    """The barrier under way is not the last: more has been read behind it."""
    protocol, _ = walk(Protocol(step=Step.READING), Input.DUE)
    protocol, effects = walk(
        protocol.ask_last(), Input.PREPARED, Input.ACCEPTED, Input.COMMITTED, Input.DUE
    )
    assert effects[-1] is Effect.BARRIER
    assert protocol.final


@pytest.mark.parametrize("step", list(Step))
def test_a_refusal_anywhere_ends_the_run(step: Step) -> None:
    """Somebody with a larger run is at work."""
    protocol, effect = Protocol(step=step).after(Input.REFUSED)
    assert (protocol.step, effect) == (Step.FENCED, Effect.ABANDON)


@pytest.mark.parametrize(
    ("step", "event"),
    [
        (Step.READING, Input.PREPARED),
        (Step.CLOSING, Input.DUE),
        (Step.CLOSING, Input.COMMITTED),
        (Step.DECIDING, Input.PREPARED),
        (Step.OPENING, Input.DUE),
        (Step.ENDED, Input.DUE),
    ],
)
def test_an_event_out_of_turn_changes_nothing(step: Step, event: Input) -> None:
    """A repeated message must not decide twice."""
    assert Protocol(step=step).after(event) == (Protocol(step=step), Effect.NOTHING)


def test_a_lineage_goes_on_from_its_register() -> None:
    """The register is ahead of the journal's copy by up to a minute."""
    known = replace(STORED, stamp=Stamp(Run(4), 5), positions={})
    assert starting_point(STORED, known, Lineage(1), LineageStart()) is STORED


def test_a_first_run_starts_at_the_beginning() -> None:
    """Nothing was ever decided, and nobody knows otherwise."""
    start = starting_point(None, None, Lineage(1), LineageStart())
    assert start == Checkpoint(lineage=Lineage(1))


@pytest.mark.parametrize("stored", [None, replace(STORED, stamp=Stamp(Run(4), 6))])
def test_a_lost_decision_is_corruption_never_the_beginning(stored: Checkpoint | None) -> None:
    """Starting over would write every row again."""
    with pytest.raises(Corrupted):
        starting_point(stored, STORED, Lineage(1), LineageStart())


@pytest.mark.parametrize(
    ("start", "positions", "committables", "latest"),
    [
        (LineageStart(Origin.BEGINNING), {}, {"sink": "staged"}, False),
        (LineageStart(Origin.LATEST), {}, {"sink": "staged"}, True),
        (LineageStart(Origin.POSITIONS), READ, {"sink": "staged"}, False),
        (LineageStart(Origin.POSITIONS, keeps_sink=False), READ, {}, False),
        (
            LineageStart(Origin.POSITIONS, replace(STORED, positions={"b": SplitPosition()})),
            {"b": SplitPosition()},
            {"sink": "staged"},
            False,
        ),
    ],
)
def test_a_new_lineage_begins_where_it_was_told(
    start: LineageStart, positions: object, committables: object, latest: object
) -> None:
    """Positions, the sink's stages and the totals are three different things to keep."""
    seed = starting_point(STORED, STORED, Lineage(2), start)
    assert seed.positions == positions
    assert seed.committables == committables
    assert seed.latest is latest
    assert not seed.seeded
    assert seed.pinned == {}
    assert seed.ledgers == {}
    assert (seed.stamp, seed.totals) == (STORED.stamp, STORED.totals)


@pytest.mark.parametrize(
    ("stored", "start", "continues"),
    [
        (STORED, LineageStart(Origin.POSITIONS), 1),
        (
            replace(STORED, lineage=Lineage(2), continues=Lineage(1)),
            LineageStart(Origin.POSITIONS),
            1,
        ),
        (STORED, LineageStart(Origin.POSITIONS, keeps_sink=False), 0),
        (STORED, LineageStart(Origin.POSITIONS, STORED), 0),
        (STORED, LineageStart(Origin.BEGINNING), 0),
        (STORED, LineageStart(Origin.LATEST), 0),
    ],
)
def test_a_lineage_says_whose_last_decision_it_goes_on_from(
    stored: Checkpoint, start: LineageStart, continues: int
) -> None:
    """The sink may hold a later one than the register."""
    assert starting_point(stored, stored, Lineage(3), start).continues == continues


def test_a_ledger_balances_or_says_that_it_does_not() -> None:
    """It is the proof on real data that no record went missing."""
    ledger = Ledger(records_read=5, records_written=3, records_filtered=1, records_skipped=1)
    assert ledger.balances
    assert not ledger.plus(Ledger(records_read=1)).balances
    assert ledger.plus(ledger).records_written == 6


def test_totals_keep_the_later_moment() -> None:
    """A batch of nothing does not make a pipeline look as if it had never worked."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    total = Totals(records=1, last_processed_at=moment).plus(Totals(records=2))
    assert (total.records, total.last_processed_at) == (3, moment)


@pytest.mark.parametrize(
    ("now_s", "tick_s"), [(100.0, 101.25), (101.0, 101.25), (101.25, 106.25), (106.0, 106.25)]
)
def test_the_checkpoints_of_a_phase_fall_together(now_s: float, tick_s: float) -> None:
    """Whenever each run began, one write then decides for all; never is one due at once."""
    assert next_tick(now_s, interval_s=5.0, phase=0.25) == tick_s


@pytest.mark.parametrize("interval_s", [0.7, 1.0, 5.0])
@pytest.mark.parametrize("shard", range(6))
def test_a_tick_that_strikes_is_over(interval_s: float, shard: int) -> None:
    """Rounded to the moment it is asked at, it would strike again and again without an end."""
    at = next_tick(12.3, interval_s, shard / 6)
    for _ in range(100):
        following = next_tick(at, interval_s, shard / 6)
        assert following - at == pytest.approx(interval_s)
        at = following
