"""``deduplicate`` beside DuckDB, and beside a loop that takes one row after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.connect import Operator, Output
from dataflow.connect.transform import MAIN, ORDINAL
from dataflow.transforms.deduplicate_spec import DUPLICATES, SPEC
from tests.flights import Flights
from tests.oracle import asked, assert_same_rows, in_batches, rows_of
from tests.unit.transforms.operators import VIA, operator, run

SECOND = 1_000_000
MICROS = pa.timestamp("us")
KEYS = st.sampled_from(["a", "b", "c", None])


@pytest.mark.parametrize(("keep", "order"), [("first", "ASC"), ("last", "DESC")])
def test_one_flight_of_each_plane_and_day_is_kept(nyc: Flights, keep: str, order: str) -> None:
    """The one that SQL's row_number puts first; some planes are NULL."""
    step = operator(SPEC, {"keys": ["tailnum", "month", "day"], "keep": keep})
    outputs = list(run(step, in_batches(nyc.flights, 30_000)))
    numbered = pa.Table.from_batches(in_batches(nyc.flights, 1_000_000))
    expected = asked(
        "SELECT * EXCLUDE (__ordinal) FROM flights QUALIFY row_number() OVER"  # noqa: S608 - a text of this test
        f" (PARTITION BY tailnum, month, day ORDER BY __ordinal {order}) = 1",
        flights=numbered,
    )
    assert_same_rows(rows_of(outputs), expected)
    others = sum(
        output.batches[DUPLICATES].num_rows for output in outputs if DUPLICATES in output.batches
    )
    assert others == nyc.flights.num_rows - expected.num_rows


@dataclass
class Twin:
    """One row at a time, as the page of ``deduplicate`` says it; no row is late."""

    within: int | None
    count: int | None
    keep: str
    since: dict[Any, int] = field(default_factory=dict)
    held: dict[Any, tuple[int, int]] = field(default_factory=dict)
    begun: int = 0
    passed: list[int] = field(default_factory=list)

    def take(self, number: int, key: object, time: int) -> None:
        begins = key not in self.since
        if self.within is not None and not begins:
            begins = time >= self.since[key] + self.within
        if self.count is not None and not begins:
            begins = self.begun >= self.since[key] + self.count
        if begins:
            self.since[key] = self.begun if self.count is not None else time
            self.begun += 1
            if self.keep == "first":
                self.passed.append(number)
            elif key in self.held:
                self.passed.append(self.held[key][1])
            self.held[key] = (time, number)
        elif self.within is None or time >= self.held[key][0]:
            self.held[key] = (time, number)

    def end(self) -> list[int]:
        if self.keep == "last":
            self.passed += [number for _, number in self.held.values()]
        return sorted(self.passed)


@st.composite
def histories(draw: st.DrawFn) -> tuple[dict[str, Any], list[list[tuple[str | None, int]]]]:
    """Draw options, and batches of keys and seconds in any order."""
    bound = draw(st.sampled_from(["within", "count", ""]))
    size = draw(st.integers(1, 6))
    options: dict[str, Any] = {"keys": ["k"], "keep": draw(st.sampled_from(["first", "last"]))}
    if bound == "within":
        # event time stays behind, so that no row is late
        options |= {"within": f"{size}s", "timeColumn": "t", "outOfOrder": "100s"}
    elif bound == "count":
        options |= {"count": size}
    rows = st.lists(st.tuples(KEYS, st.integers(0, 30)), max_size=25)
    return options, draw(st.lists(rows, min_size=1, max_size=4))


@settings(max_examples=300, deadline=None)
@given(histories(), st.integers(0, 3))
def test_whole_batches_give_what_one_row_after_the_other_gives(
    history: tuple[dict[str, Any], list[list[tuple[str | None, int]]]], restored_at: int
) -> None:
    """Whatever the bound, and however keys come back within one batch; restored between two."""
    options, given = history
    within = int(options["within"][:-1]) * SECOND if "within" in options else None
    twin = Twin(within, options.get("count"), options["keep"])
    step, number = operator(SPEC, options), 0
    found, parts = list[Output](), list[bytes]()
    for at, rows in enumerate(given):
        for offset, (key, second) in enumerate(rows):
            twin.take(number + offset, key, second * SECOND)
        found.append(step.apply(_batch(rows, number), VIA))
        number += len(rows)
        told = step.changes(whole=not parts)
        parts += [told] if told is not None else []
        if at == restored_at:
            step = operator(SPEC, options)
            if parts:
                step.restore(parts)
    found.append(step.input_ended(VIA.input))
    passed = [row["n"] for output in found for row in _rows(output, MAIN)]
    assert sorted(passed) == twin.end()
    others = [row["n"] for output in found for row in _rows(output, DUPLICATES)]
    assert sorted(passed + others) == list(range(number))


def _batch(rows: Sequence[tuple[str | None, int]], first: int) -> pa.RecordBatch:
    numbers = range(first, first + len(rows))
    return pa.record_batch(
        {
            "k": pa.array([key for key, _ in rows], pa.string()),
            "t": pa.array([second * SECOND for _, second in rows], MICROS),
            "n": pa.array(numbers, pa.int64()),
            ORDINAL: pa.array(numbers, pa.int64()),
        }
    )


def _rows(output: Output, name: str) -> list[dict[str, Any]]:
    return output.batches[name].to_pylist() if name in output.batches else []


def test_a_batch_of_one_key_that_begins_again_and_again_takes_no_round_a_row() -> None:
    """A hundred thousand groups in one batch: found by doubling, not one by one."""
    step: Operator = operator(SPEC, {"keys": ["k"], "within": "1ms", "timeColumn": "t"})
    rows = 100_000
    batch = pa.record_batch(
        {"k": pa.array([1] * rows), "t": pa.array(range(0, rows * 1000, 1000), MICROS)}
    )
    assert step.apply(batch, VIA).batches[MAIN].num_rows == rows
