"""The generator: rows that depend on the seed and their number alone."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.connect import Context, Rejected, SourceStep
from dataflow.connect.spec import parse
from dataflow.connect.types import parse_type, to_arrow
from dataflow.connectors.generator import SPEC, GeneratorOptions, GeneratorPosition
from dataflow.connectors.generator_source import (
    ROWS_AHEAD,
    SPLIT,
    Generator,
    open_source,
    rows_of,
)
from dataflow.core.errors import Invalid
from dataflow.core.ids import PipelineId

EVERY = [
    {"name": "s", "kind": "sequence", "start": 100},
    {"name": "i", "kind": "integer", "min": -3, "max": 3},
    {"name": "f", "kind": "float", "min": -1.0, "max": 2.0},
    {"name": "c", "kind": "choice", "choices": ["x", "y", "z"]},
    {"name": "t", "kind": "string", "length": 21},
    {"name": "m", "kind": "timestamp", "start": "2026-01-01T00:00:00+01:00", "step": "500ms"},
]


class LoopClock:
    """The event loop's clock."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def steady(self) -> float:
        return asyncio.get_running_loop().time()


class Punctual(LoopClock):
    """A clock by which every sleeper wakes to the moment, however busy the machine is."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def steady(self) -> float:
        return self._now_s

    async def sleep(self, delay_s: float) -> None:
        self._now_s += delay_s


def options_of(**options: Any) -> GeneratorOptions:  # noqa: ANN401 - any JSON
    """Return options as the engine parses them."""
    return parse(GeneratorOptions, json.dumps(options))


def source_of(
    batch_size: int = 0,
    clock: LoopClock | None = None,
    **options: Any,  # noqa: ANN401 - any JSON
) -> Generator:
    """Return a source as the engine opens it."""
    context = Context(PipelineId("p"), "source", clock or LoopClock(), str, Path)
    step = SourceStep(source_type="generator", batch_size=batch_size)
    return open_source(step, options_of(**options), context)


async def read(source: Generator, start: int = 0) -> pa.Table:
    """Return all rows from ``start``."""
    chunks = source.read(SPLIT, GeneratorPosition(row=start))
    return pa.Table.from_batches([chunk.batch async for chunk in chunks])


@given(start=st.integers(0, 10**12), length=st.integers(1, 50), cut=st.integers(0, 50))
def test_a_row_depends_on_the_seed_and_its_number_alone(start: int, length: int, cut: int) -> None:
    """A resumed run must make exactly the rows that the first one would have made."""
    options = options_of(seed=7, columns=EVERY)
    whole = rows_of(options, start, start + length)
    middle = start + min(cut, length)
    halves = [rows_of(options, start, middle), rows_of(options, middle, start + length)]
    assert pa.Table.from_batches(halves).combine_chunks() == pa.Table.from_batches([whole])


def test_rows_never_change_between_releases() -> None:
    """A pipeline that is upgraded half-way goes on with the same rows."""
    assert rows_of(options_of(seed=42, columns=EVERY), 1_000, 1_002).to_pylist() == PINNED


@pytest.mark.parametrize("name", ["i", "f", "c", "t"])
def test_another_seed_makes_other_rows(name: str) -> None:
    """Or two generators would be copies of each other."""
    first, second = (rows_of(options_of(seed=s, columns=EVERY), 0, 100)[name] for s in (1, 2))
    assert first != second


def test_columns_of_one_kind_differ() -> None:
    """Each draws from a stream of its own."""
    columns = [{"name": name, "kind": "integer"} for name in ("a", "b")]
    rows = rows_of(options_of(columns=columns), 0, 100)
    assert rows["a"] != rows["b"]


def test_values_lie_where_they_are_asked_to_and_everywhere_there() -> None:
    """Bounds are included; a long draw reaches all of them."""
    rows = rows_of(options_of(columns=EVERY), 0, 10_000).to_pydict()
    assert rows["s"][:3] == [100, 101, 102]
    assert set(rows["i"]) == set(range(-3, 4))
    assert -1.0 <= min(rows["f"]) < -0.99 < 1.99 < max(rows["f"]) <= 2.0
    assert abs(sum(rows["f"]) / 10_000 - 0.5) < 0.03
    assert set(rows["c"]) == {"x", "y", "z"}
    assert {len(text) for text in rows["t"]} == {21}
    assert len(set(rows["t"])) == 10_000
    assert (rows["m"][1] - rows["m"][0]).total_seconds() == 0.5


@pytest.mark.parametrize(("low", "high"), [(-(2**63), 2**63 - 1), (2**63 - 1, 2**63 - 1), (0, 0)])
def test_integers_take_any_bounds(low: int, high: int) -> None:
    """Sixty-four bits have no room for the number of all of them."""
    column = {"name": "i", "kind": "integer", "min": low, "max": high}
    drawn = rows_of(options_of(columns=[column]), 0, 1_000)["i"].to_pylist()
    assert all(isinstance(value, int) and low <= value <= high for value in drawn)
    assert (len(set(drawn)) > 1) == (low < high)


async def test_it_makes_as_many_rows_as_asked_for_in_batches_of_the_size_asked_for() -> None:
    """The last batch is what is left."""
    source = source_of(batch_size=4, rows=10)
    sizes = [(c.batch.num_rows, c.resume_at.row) async for c in source.read(SPLIT, None)]
    assert (source.bounded, sizes) == (True, [(4, 4), (4, 8), (2, 10)])


async def test_resumed_it_goes_on_with_the_rows_that_are_left() -> None:
    """The position is the next row."""
    source = source_of(rows=100, seed=3)
    assert await source.lag() == (100, -1)
    whole, rest = await read(source), await read(source_of(rows=100, seed=3), start=60)
    assert rest == whole.slice(60).combine_chunks()
    assert await source.lag() == (0, -1)


async def test_without_a_number_of_rows_it_never_ends() -> None:
    """Then it is unbounded, and nobody can tell what is left."""
    source = source_of(batch_size=10)
    chunks = source.read(SPLIT, None)
    positions = [(await anext(chunks)).resume_at.row for _ in range(5)]
    await chunks.aclose()
    assert positions == [10, 20, 30, 40, 50]
    assert (source.bounded, await source.lag()) == (False, (-1, -1))


async def test_rows_come_at_the_rate_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first at once; a tenth of a second of rows, then ever more, when the last is due."""
    clock = Punctual()
    monkeypatch.setattr(asyncio, "sleep", clock.sleep)
    source = source_of(clock=clock, rows=160, rowsPerSecond=200)
    times = [(clock.steady(), c.resume_at.row) async for c in source.read(SPLIT, None)]
    assert [row for _, row in times] == [20, 60, 140, 160]
    assert [round(at * 200) for at, _ in times] == [19, 59, 139, 159]


async def test_rows_that_come_slowly_come_one_by_one() -> None:
    """Nobody waits for a second row before the first is seen."""
    chunks = source_of(rowsPerSecond=3).read(SPLIT, None)
    positions = [(await anext(chunks)).resume_at.row for _ in range(2)]
    await chunks.aclose()
    assert positions == [1, 2]


async def test_rows_that_come_slowly_are_the_rows_that_come_at_once() -> None:
    """They are made ahead, and cut from what was made: at every offset, across every edge."""
    slow = source_of(rows=150, rows_per_second=20_000, batch_size=7, columns=EVERY)
    assert (await read(slow, 3)).equals(await read(source_of(rows=150, columns=EVERY), 3))


async def test_what_a_busy_server_has_left_overdue_comes_in_one_batch() -> None:
    """A batch has its price: behind one after the other a server would never catch up."""
    source = source_of(rows_per_second=1_000)
    chunks = source.read(SPLIT, None)
    await anext(chunks)
    await asyncio.sleep(0.4)
    overdue = (await anext(chunks)).batch.num_rows
    await chunks.aclose()
    assert overdue >= 300


async def test_rows_made_ahead_do_not_run_out_before_those_that_are_due() -> None:
    """The last moments that a timestamp can hold are given, then it says that there are no more."""
    last = {"name": "m", "kind": "timestamp", "start": "2026-01-01T00:00:00Z", "step": "30000d"}
    chunks = source_of(rows_per_second=1_000_000, batch_size=1, columns=[last]).read(SPLIT, None)
    given = [0]

    async def take() -> None:
        while True:
            given.append((await anext(chunks)).resume_at.row)

    with pytest.raises(Rejected, match="has run past"):
        await take()
    assert given[-1] % ROWS_AHEAD  # not at an edge of what is made at once


async def test_a_column_that_runs_out_of_moments_says_so() -> None:
    """Wrapping around to before 1970 would be a row nobody asked for."""
    column = {"name": "m", "kind": "timestamp", "step": "10000000d"}
    with pytest.raises(Rejected, match="column 'm' has run past"):
        await read(source_of(rows=100, columns=[column]))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"rows": -1}, r"options\.rows"),
        ({"row": 1}, r"options\.row: unknown option; one of columns, onError, rows, "),
        ({"columns": []}, r"options\.columns"),
        ({"columns": [{"name": "a", "kind": "uuid"}]}, r"options\.columns\[0\]: "),
        (
            {"columns": [{"name": "a", "kind": "choice"}]},
            r"options\.columns\[0\]\.choices: missing$",
        ),
        (
            {"columns": [{"name": "a", "kind": "integer", "min": 2, "max": 1}]},
            "min 2 is more than max 1",
        ),
        (
            {"columns": [{"name": "a", "kind": "float", "min": 1e200}]},
            r"options\.columns\[0\]\.min",
        ),
    ],
)
def test_what_cannot_be_made_is_refused_by_its_field(options: dict[str, Any], told: str) -> None:
    """Before anything starts."""
    with pytest.raises(Invalid, match=told):
        options_of(**options)


def test_two_columns_of_one_name_and_a_path_are_refused() -> None:
    """Neither would mean anything."""
    step = SourceStep(source_type="generator", connection_string="x")
    twice = [{"name": "a", "kind": "sequence"}, {"name": "a", "kind": "integer"}]
    assert [str(problem) for problem in SPEC.check(step, options_of(columns=twice))] == [
        "connectionString: leave it empty: rows are made, not read",
        "options.columns: two columns are named 'a'",
    ]


def test_the_declared_schema_is_that_of_the_rows() -> None:
    """Expressions are checked against it when a pipeline is created."""
    options = options_of(columns=EVERY)
    declared = {name: to_arrow(parse_type(t)) for name, t in (SPEC.schema(options) or {}).items()}
    made = rows_of(options, 0, 1).schema
    assert {field.name: str(field.type) for field in made} == {
        name: str(kind).replace("large_", "") for name, kind in declared.items()
    }


def test_the_spec_loads_no_arrow() -> None:
    """Specs are imported at start-up."""
    script = "import sys, dataflow.connectors.generator; print({'pyarrow'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"


PINNED: list[dict[str, Any]] = [
    {
        "s": 1100,
        "i": -1,
        "f": -0.6627313654311419,
        "c": "z",
        "t": "c8c3b199976e4eaae23fe",
        "m": datetime(2025, 12, 31, 23, 8, 20, tzinfo=UTC),
    },
    {
        "s": 1101,
        "i": -3,
        "f": 1.456539138628659,
        "c": "y",
        "t": "2c2a6cb4a766b2f5ec112",
        "m": datetime(2025, 12, 31, 23, 8, 20, 500_000, tzinfo=UTC),
    },
]
"""Computed once and kept: two rows of every kind."""
