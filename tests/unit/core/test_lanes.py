"""Which lane a split is of, and what of a checkpoint."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from dataflow.connect.decision import decision_held
from dataflow.core.checkpoint import (
    DEAD_LETTERS,
    Checkpoint,
    LaneShare,
    Ledger,
    LineageStart,
    Origin,
    SplitPosition,
    Stamp,
    Totals,
    starting_point,
)
from dataflow.core.ids import Lineage, Run
from dataflow.core.lanes import ALONE, Lane, together

SPLITS = [f"orders:{n}" for n in range(8)]
EARLY, LATE = (datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2))


def lanes(of: int) -> list[Lane]:
    """Return all lanes of a run."""
    return [Lane(index, of) for index in range(of)]


@pytest.mark.parametrize("of", [1, 2, 3, 8])
def test_every_split_is_of_one_lane_and_partitions_take_turns(of: int) -> None:
    """A lane with half of the partitions takes as long as the slowest."""
    read = [[split for split in SPLITS if lane.reads(split)] for lane in lanes(of)]
    assert sorted(split for each in read for split in each) == SPLITS
    assert max(map(len, read)) - min(map(len, read)) <= 1


def test_names_without_a_number_are_of_one_lane_each() -> None:
    """Files may be called anything."""
    names = ["a", "b", "north", "south", "east", "west"]
    counted = [sum(lane.reads(name) for lane in lanes(3)) for name in names]
    assert counted == [1] * len(names)


def test_what_is_replayed_enters_by_the_first_lane() -> None:
    """It alone looks for requests; the rows may be of any."""
    assert all(Lane(0, 4).reads(f"{DEAD_LETTERS}::r{n}::{n}") for n in range(8))


def test_what_lanes_have_left_that_are_no_more_is_the_first_one_s() -> None:
    """Nobody else would ever drop it."""
    assert [i for i in range(5) if Lane(0, 3).owns(i)] == [0, 3, 4]
    assert [i for i in range(5) if Lane(2, 3).owns(i)] == [2]
    assert all(ALONE.owns(i) for i in range(5))


def a_lane(index: int, number: int, moment: datetime) -> Checkpoint:
    """Return what one of two lanes has decided."""
    read = {s: SplitPosition("{}", number) for s in SPLITS if Lane(index, 2).reads(s)}
    return Checkpoint(
        lineage=Lineage(1),
        stamp=Stamp(Run(3), number),
        seeded=True,
        positions=read,
        pinned={"source": "{}"},
        committables={"sink": f'"{index}"'},
        ledgers={"sink": Ledger(records_read=number, records_written=number)},
        totals=Totals(records=number, last_processed_at=moment),
        hidden=number,
    )


def test_a_run_s_checkpoint_gives_each_lane_its_own_again() -> None:
    """All of it: positions by split, the rest by lane."""
    each = [a_lane(0, 5, LATE), a_lane(1, 4, EARLY)]
    whole = together(each)
    assert whole.stamp.number == 5
    assert sorted(whole.positions) == SPLITS
    assert whole.ledgers == {"sink": Ledger(records_read=9, records_written=9)}
    assert whole.totals == Totals(records=9, last_processed_at=LATE)
    assert whole.hidden == 9
    shared = [lane.share(whole) for lane in lanes(2)]
    assert shared == [replace(one, stamp=whole.stamp, hidden=9) for one in each]


def test_a_run_is_seeded_when_its_last_lane_is() -> None:
    """Before that the owner has to ask for the checkpoint that seeds."""
    each = [a_lane(0, 5, LATE), replace(a_lane(1, 5, LATE), seeded=False)]
    assert not together(each).seeded


def test_more_lanes_share_the_positions_and_the_first_goes_on_counting() -> None:
    """A sum must not begin anew, nor be counted by two."""
    whole = together([a_lane(0, 5, LATE), a_lane(1, 5, LATE)])
    shared = [lane.share(whole) for lane in lanes(3)]
    assert sorted(s for one in shared for s in one.positions) == SPLITS
    assert [one.committables for one in shared] == [{}, {}, {}]
    one_task = replace(whole, lanes=(), committables={"sink": "staged"})
    shared = [lane.share(one_task) for lane in lanes(3)]
    assert [one.totals.records for one in shared] == [10, 0, 0]
    assert [one.committables for one in shared] == [{"sink": "staged"}, {}, {}]


def test_one_task_takes_no_lane_s_share_along() -> None:
    """The same number of lanes later would take it up, and what it names may be gone by then."""
    whole = together([a_lane(0, 5, LATE), a_lane(1, 5, LATE)])
    assert not ALONE.share(whole).lanes
    assert ALONE.share(whole).totals == whole.totals


def test_what_was_pinned_holds_for_all_lanes_of_any_number() -> None:
    """The first lane found it; the others read by it."""
    whole = together([a_lane(0, 5, LATE), a_lane(1, 5, LATE)])
    start = LineageStart(Origin.POSITIONS, keeps_pins=True)
    for stored, of in ((whole, 2), (whole, 3), (whole, 1), (ALONE.share(whole), 2)):
        seed = starting_point(stored, stored, Lineage(2), start)
        assert [lane.share(seed).pinned for lane in lanes(of)] == [whole.pinned] * of
    begun_anew = starting_point(whole, whole, Lineage(2), LineageStart(Origin.POSITIONS))
    assert not begun_anew.pinned


@pytest.mark.parametrize("seeded", [False, True])
def test_what_was_pinned_and_never_decided_binds_no_lane(seeded: bool) -> None:  # noqa: FBT001 - a table
    """A lane's sink has it from a run that ended there; the first lane has pinned anew since."""
    stored = replace(a_lane(1, 5, LATE), seeded=seeded, pinned={"source": "old"})
    seed = replace(stored, seeded=False, pinned={"source": "new"})
    assert decision_held(stored, seed).pinned == {"source": "old" if seeded else "new"}


def test_a_new_lineage_keeps_of_each_lane_what_goes_with_the_sink() -> None:
    """A seed that is decided by one lane and not by the other is shared again in the next life."""
    whole = together([a_lane(0, 5, LATE), a_lane(1, 5, LATE)])
    letters = LaneShare(committables={DEAD_LETTERS: "x", "sink": "y"})
    stored = replace(whole, lanes=(letters, letters))
    kept = starting_point(stored, stored, Lineage(2), LineageStart(Origin.POSITIONS))
    assert kept.lanes == (LaneShare(committables=letters.committables),) * 2
    other = LineageStart(Origin.BEGINNING, keeps_sink=False)
    gone = starting_point(stored, stored, Lineage(2), other)
    assert gone.lanes == (LaneShare(committables={DEAD_LETTERS: "x"}),) * 2
