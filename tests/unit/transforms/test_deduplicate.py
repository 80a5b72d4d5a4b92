"""``deduplicate``: what is remembered for how long, and which row passes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from dataflow.connect import Rejected, Via
from dataflow.connect.transform import ERROR, MAIN, ORDINAL
from dataflow.transforms.deduplicate_spec import DUPLICATES, SPEC
from tests.unit.transforms.operators import VIA, Clock, operator, problems_of, shown
from tests.unit.transforms.rig import batch

SECOND = 1_000_000


def timed(keys: list[str], seconds: list[int | None]) -> pa.RecordBatch:
    """Return a batch of keys and times."""
    times = [None if second is None else second * SECOND for second in seconds]
    return batch(k=pa.array(keys), t=pa.array(times, pa.timestamp("us")))


def test_the_first_row_of_a_key_passes_with_its_number_and_the_others_go_beside() -> None:
    """Who reads the duplicates sees the whole rows; who does not has them counted as filtered."""
    step = operator(SPEC, {"keys": ["a", "b"]})
    output = step.apply(batch(a=[1, 1, None, None, 1], b=["x", "y", "z", "z", "x"]), VIA)
    assert [row[ORDINAL] for row in output.batches[MAIN].to_pylist()] == [0, 1, 2]
    assert [row[ORDINAL] for row in output.batches[DUPLICATES].to_pylist()] == [3, 4]
    assert step.keeps_splits


def test_a_batch_that_passes_whole_is_not_copied() -> None:
    """Most streams hold few duplicates."""
    given = batch(a=[1, 2])
    assert operator(SPEC, {"keys": ["a"]}).apply(given, VIA).batches == {MAIN: given}


def test_a_key_passes_again_when_its_time_of_arrival_is_over() -> None:
    """Counted from the row that passed: duplicates do not make it longer."""
    clock = Clock()
    step = operator(SPEC, {"keys": ["a"], "within": "10s"}, clock=clock)
    found = []
    for seconds in (0, 6, 4, 9, 1):
        clock.sleep(seconds=seconds)
        found.append(len(shown(step.apply(batch(a=[1]), VIA))))
    assert found == [1, 0, 1, 0, 1]


def test_a_clock_that_goes_back_forgets_nothing_early() -> None:
    """A row came when the latest one came, whatever the clock says since."""
    clock = Clock()
    step = operator(SPEC, {"keys": ["a"], "within": "10s"}, clock=clock)
    found = []
    for seconds, key in ((0, 1), (-10, 2), (11, 2), (9, 2)):
        clock.sleep(seconds=seconds)
        found.append(len(shown(step.apply(batch(a=[key]), VIA))))
    assert found == [1, 1, 0, 1]


def test_a_row_without_a_time_is_refused_and_its_neighbours_pass() -> None:
    """It can be told from nothing."""
    step = operator(SPEC, {"keys": ["k"], "within": "10s", "timeColumn": "t"})
    output = step.apply(timed(["a", "b"], [None, 1]), VIA)
    assert [row["k"] for row in shown(output)] == ["b"]
    assert output.rejected is not None
    assert output.rejected.column(ERROR).to_pylist() == ["t is NULL"]


def test_an_earlier_row_of_a_key_is_a_duplicate_while_the_key_is_remembered() -> None:
    """And passes when event time has left the key behind: then nothing is known of it."""
    step = operator(SPEC, {"keys": ["k"], "within": "10s", "timeColumn": "t"})
    step.splits(VIA.input, [VIA.split], idles=False)
    found = [
        shown(step.apply(timed([key], [second]), VIA))
        for key, second in (("a", 100), ("a", 95), ("b", 110), ("a", 96))
    ]
    assert [len(rows) for rows in found] == [1, 0, 1, 1]


def test_the_last_row_in_event_time_passes_when_all_splits_have_left_its_bound() -> None:
    """Of equal times the one that came later; the split that is behind decides."""
    step = operator(SPEC, {"keys": ["k"], "within": "10s", "timeColumn": "t", "keep": "last"})
    step.splits(VIA.input, ["s", "late"], idles=False)
    late = Via(VIA.input, "late")
    given = batch(k=["a", "a", "a"], t=pa.array([0, 5, 5], pa.timestamp("s")), n=[1, 2, 3])
    later = batch(k=["b"], t=pa.array([10], pa.timestamp("s")), n=[4])
    assert shown(step.apply(given, VIA)) == []
    assert shown(step.apply(later, VIA)) == []
    assert [row["n"] for row in shown(step.apply(later, late))] == [3]
    assert [row["n"] for row in shown(step.input_ended(VIA.input))] == [4]


def test_a_held_row_passes_by_the_clock_where_nothing_more_arrives() -> None:
    """A quiet source must not hold the last rows back for ever."""
    clock = Clock()
    step = operator(SPEC, {"keys": ["a"], "within": "10s", "keep": "last"}, clock=clock)
    assert step.ticks
    output = step.apply(batch(a=[1, 1], n=[1, 2]), VIA)
    assert (output.absorbed, output.batches[DUPLICATES].num_rows) == (1, 1)
    clock.sleep(seconds=9)
    assert shown(step.tick(clock.now())) == []
    clock.sleep(seconds=1)
    assert shown(step.tick(clock.now())) == [{"a": 1, "n": 2}]


def test_only_the_last_input_to_end_lets_held_rows_pass() -> None:
    """The others may still bring the same keys; a later round begins anew."""
    step = operator(SPEC, {"keys": ["a"], "keep": "last"}, inputs=["x", "y"])
    step.apply(batch(a=[1], n=[1]), Via("x", "s"))
    assert shown(step.input_ended("x")) == []
    step.apply(batch(a=[1], n=[2]), Via("y", "r"))
    assert shown(step.input_ended("y")) == [{"a": 1, "n": 2}]
    step.input_begins("x")
    step.apply(batch(a=[1], n=[3]), Via("x", "s"))
    assert shown(step.input_ended("x")) == [{"a": 1, "n": 3}]


@pytest.mark.parametrize("keep", ["first", "last"])
@pytest.mark.parametrize(
    "bound", [{"count": 1000}, {"within": "1s", "timeColumn": "t"}], ids=["count", "within"]
)
def test_what_is_forgotten_takes_no_memory(keep: str, bound: Mapping[str, Any]) -> None:
    """Two million keys pass by, of which some thousands count at a time."""
    step = operator(SPEC, {"keys": ["k"], "keep": keep, **bound})
    step.splits(VIA.input, [VIA.split], idles=False)
    most = 0
    for first in range(0, 2_000_000, 50_000):
        numbers = pa.array(range(first, first + 50_000))
        times = pa.compute.multiply(numbers, 100).cast(pa.timestamp("us"))
        step.apply(pa.record_batch({"k": numbers, "t": times}), VIA)
        step.changes(whole=False)
        most = max(most, step.state_bytes)
    assert most < 32 << 20


def test_an_empty_whole_state_is_told_where_one_was_told_before() -> None:
    """Else the rows that have passed at an end would be held again, and pass twice."""
    step = operator(SPEC, {"keys": ["a"], "keep": "last"})
    assert step.changes(whole=True) is None
    step.apply(batch(a=[1]), VIA)
    parts = [step.changes(whole=True), step.changes(whole=False)]
    assert parts[1] is None
    step.input_ended(VIA.input)
    parts[1] = step.changes(whole=False)
    again = operator(SPEC, {"keys": ["a"], "keep": "last"})
    again.restore([part for part in parts if part is not None])
    assert shown(again.input_ended(VIA.input)) == []


def test_keys_of_another_type_than_before_are_refused() -> None:
    """They would all be new: a change of type would let every duplicate pass."""
    step = operator(SPEC, {"keys": ["a"]})
    step.apply(batch(a=[1]), VIA)
    state = step.changes(whole=True)
    assert state is not None
    again = operator(SPEC, {"keys": ["a"]})
    again.restore([state])
    with pytest.raises(Rejected, match="the keys were int64 before, and are string now"):
        again.apply(batch(a=["1"]), VIA)


@pytest.mark.parametrize(
    ("options", "columns", "field", "said"),
    [
        ({"keys": ["x"]}, {"a": "int64"}, "options.keys[0]", "unknown column 'x'; there are a"),
        ({"keys": ["a", "a"]}, None, "options.keys[1]", "'a' is named twice"),
        ({"keys": ["a"]}, {"a": "list<int64>"}, "options.keys[0]", "no key can be"),
        ({"keys": ["a"], "within": "1s", "count": 2}, None, "options.count", "either within or"),
        ({"keys": ["a"], "timeColumn": "t"}, None, "options.timeColumn", "needs within"),
        (
            {"keys": ["a"], "within": "1s", "timeColumn": "a"},
            {"a": "int64"},
            "options.timeColumn",
            "'a' is int64; give one of timestamps",
        ),
        ({"keys": ["__ordinal"]}, {"a": "int64"}, "options.keys[0]", "engine's own"),
    ],
)
def test_wrong_options_are_reported_when_the_pipeline_is_created(
    options: Mapping[str, Any], columns: Mapping[str, str] | None, field: str, said: str
) -> None:
    """By their path."""
    (problem,) = problems_of(SPEC, options, columns)
    assert problem.field == field
    assert said in problem.message
