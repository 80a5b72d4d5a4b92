"""``aggregate`` over a whole run: functions, groups, types, refusals, the state."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from dataflow.connect import Corrupted, Rejected
from dataflow.connect.batches import type_name
from dataflow.transforms.aggregate import memory
from dataflow.transforms.aggregate.spec import SPEC
from tests.unit.transforms.aggregating import Life, times, whole
from tests.unit.transforms.rig import batch, problems, schema

INT64_MAX = 2**63 - 1


def one(function: str, values: Sequence[Any] | pa.Array[Any]) -> Any:  # noqa: ANN401 - any result
    """Return what a function makes of one column."""
    (row,) = whole({"aggregates": {"x": function}}, batch(a=values))
    return row["x"]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("count()", 4),
        ("COUNT(*)", 4),
        ("count(a)", 3),
        ("sum(a)", 6),
        ("sum(a * 10 + 1)", 63),
        ("sum(a > 1)", 2),
        ("avg(a)", 2.0),
        ("min(a)", 1),
        ("max(-a)", -1),
        ("first(a)", 2),
        ("last(a)", 3),
        ("first(coalesce(a, 0))", 2),
        ("collect(a)", [2, None, 1, 3]),
        ("collect(a, 2)", [2, None]),
        ("approx_distinct(a)", 3),
    ],
)
def test_each_function_gives_what_sql_does(function: str, expected: object) -> None:
    """NULL is counted by count() alone, and collected."""
    assert one(function, [2, None, 1, 3]) == expected


def test_no_value_at_all_is_null_and_counts_as_none() -> None:
    """SQL's sum of NULLs is NULL, not 0."""
    nothing = pa.nulls(2, pa.int64())
    functions = ("sum(a)", "avg(a)", "min(a)", "max(a)", "quantile(a, 0.5)", "first(a)")
    assert [one(each, nothing) for each in functions] == [None] * len(functions)
    assert [one(each, nothing) for each in ("count(a)", "approx_distinct(a)")] == [0, 0]


def test_an_input_without_rows_has_one_group_where_all_rows_are_one_and_else_none() -> None:
    """As SELECT count(*) without and with GROUP BY; an input without columns can have neither."""
    empty = batch(a=pa.array([], pa.int64()), k=pa.array([], pa.string()))
    made = {"n": "count()", "s": "sum(a)", "all": "collect(a)", "d": "approx_distinct(a)"}
    expected = [{"n": 0, "s": None, "all": None, "d": 0}]
    assert whole({"aggregates": made}, empty) == expected
    assert whole({"aggregates": made, "groupBy": ["k"]}, empty) == []
    assert whole({"aggregates": made}) == []


def test_keys_are_equal_as_in_group_by() -> None:
    """NULL equals NULL, NaN equals NaN, 0.0 equals -0.0; groups come out in their order."""
    keys = [math.nan, None, 0.0, -0.0, None, math.nan, 1.5]
    found = whole({"groupBy": ["k"], "aggregates": {"n": "count()"}}, batch(k=keys))
    assert [(row["k"], row["n"]) for row in found[:3]] == [(None, 2), (0.0, 2), (1.5, 1)]
    assert math.isnan(found[3]["k"])
    assert found[3]["n"] == 2


def test_nan_is_above_all_numbers() -> None:
    """As in DuckDB and PostgreSQL: max is NaN where one is, min where all are."""
    assert math.isnan(one("max(a)", [1.0, math.nan, 2.0]))
    assert one("min(a)", [1.0, math.nan, 2.0]) == 1.0
    assert math.isnan(one("min(a)", [math.nan]))


def test_a_sum_is_right_whatever_its_way_leads_through_and_never_wraps() -> None:
    """Partial sums may leave int64; only the total must fit."""
    big = [INT64_MAX, INT64_MAX, -INT64_MAX, -INT64_MAX, 5]
    assert one("sum(a)", big) == 5
    assert one("avg(a)", [INT64_MAX, INT64_MAX]) == float(INT64_MAX)
    with pytest.raises(Rejected, match=r"aggregates.x: a sum of 9223372036854775808 does not fit"):
        one("sum(a)", [INT64_MAX, 1])
    assert one("sum(CAST(a AS decimal(38, 0)))", [INT64_MAX, 1]) == 2**63
    with pytest.raises(Rejected, match="38 digits"):
        one("sum(a)", pa.array([Decimal(9 * 10**37)] * 2, pa.decimal128(38, 0)))


def test_sums_of_parts_do_not_wrap_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part fits an int64; what they come to does not, and another part brings it back."""
    monkeypatch.setattr(memory, "BUFFER_ROWS", 1)
    parts = [batch(a=[INT64_MAX]), batch(a=[INT64_MAX]), batch(a=[-INT64_MAX])]
    options = {"aggregates": {"s": "sum(a)"}}
    assert whole(options, *parts) == [{"s": INT64_MAX}]
    life = Life(options)
    for part in parts[:2]:
        life.take(part)
    again = Life(options, parts=[life.step.changes(whole=False) or b""])
    again.take(parts[2])
    assert again.end() == [{"s": INT64_MAX}]
    with pytest.raises(Rejected, match="does not fit"):
        whole(options, *parts[:2])


def test_results_have_the_types_that_the_spec_says() -> None:
    """The next step is checked against them before the first row."""
    columns: dict[str, Any] = {
        "i": pa.array([1], pa.int16()),
        "f": pa.array([1.5], pa.float32()),
        "d": pa.array([Decimal("1.25")], pa.decimal128(10, 2)),
        "s": pa.array(["x"], pa.large_string()),
        "w": pa.array(["x"]).dictionary_encode(),
        "t": pa.array([0], pa.timestamp("s", "Europe/Berlin")),
        "c": pa.array([0], pa.time32("s")),
        "b": pa.array([True]),
    }
    made = {f"{name}_{call}": f"{call}({name})" for name in columns for call in ("min", "collect")}
    made |= {f"{name}_sum": f"sum({name})" for name in "ifdb"}
    options = {"groupBy": list(columns), "aggregates": made}
    named = schema(SPEC, options, {name: _type(each) for name, each in columns.items()})
    assert named is not None
    life = Life(options)
    life.take(batch(**columns))
    life.end()
    found = life.table()
    assert {field.name: _type(found.column(field.name)) for field in found.schema} == named
    assert named["i_sum"] == "int64"
    assert named["d_sum"] == "decimal(38, 2)"
    (row,) = found.to_pylist()
    assert (row["c_min"], row["t_min"]) == (row["c"], row["t"])


def _type(column: pa.Array[Any] | pa.ChunkedArray[Any]) -> str:
    return type_name(column.type)


def test_rows_without_a_value_are_refused_and_the_others_count() -> None:
    """The record is told with what is wrong with it, once."""
    life = Life({"aggregates": {"s": "sum(CAST(a AS int))", "m": "max(CAST(b AS int))"}})
    life.take(batch(a=["1", "x", "3"], b=["1", "y", "z"]))
    life.end()
    assert life.rows() == [{"s": 1, "m": 1}]
    reasons = life.reasons()
    assert sorted(reasons) == [1, 2]
    assert reasons[1].startswith("s: 'x' is no int64")
    assert reasons[2].startswith("m: 'z' is no int64")


def test_estimates_keep_to_their_errors() -> None:
    """Some 2.3 % for distinct values, 1 % for a quantile; few distinct values are counted."""
    numbers = list(range(-20_000, 80_000))
    assert one("approx_distinct(a)", numbers) == pytest.approx(100_000, rel=0.07)
    texts = [f"customer-{number}" for number in numbers]
    assert one("approx_distinct(a)", texts) == pytest.approx(100_000, rel=0.07)
    assert one("approx_distinct(a)", [1.5, -0.0, 0.0, math.nan, math.nan]) == 3
    for rank in (0, 0.25, 0.5, 0.99, 1):
        expected = numbers[math.floor(rank * (len(numbers) - 1))]
        assert one(f"quantile(a, {rank})", numbers) == pytest.approx(expected, rel=0.0101)
    assert one("quantile(a, 0.5)", [0.0, 0.0, math.inf]) == 0.0
    assert one("quantile(a, 1)", [0.0, math.inf]) == math.inf
    assert math.isnan(one("quantile(a, 1)", [math.nan, math.inf]))


def test_sketches_of_parts_are_the_sketch_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """However rows are cut into batches, the estimate is the same."""
    options = {"groupBy": ["k"], "aggregates": {"d": "approx_distinct(a)", "q": "quantile(a, .9)"}}
    rows: dict[str, Any] = {
        "k": [number % 3 for number in range(3_000)],
        "a": [n % 700 for n in range(3_000)],
    }
    at_once = whole(options, batch(**rows))
    monkeypatch.setattr(memory, "BUFFER_ROWS", 1)
    cut = [
        batch(**{name: each[at : at + 300] for name, each in rows.items()})
        for at in range(0, 3_000, 300)
    ]
    assert whole(options, *cut) == at_once


def test_sketches_belong_to_groups_of_null_and_nan_too() -> None:
    """They are kept by themselves, and put beside the other results by their keys."""
    options = {
        "groupBy": ["k", "f"],
        "aggregates": {"n": "count()", "d": "approx_distinct(a)", "q": "quantile(a, 1)"},
    }
    found = whole(options, batch(k=[None, None, "x"], f=[math.nan, math.nan, None], a=[0, 0, 0]))
    assert [(row["k"], row["n"], row["d"], row["q"]) for row in found] == [
        (None, 2, 1, 0.0),
        ("x", 1, 1, 0.0),
    ]


@pytest.mark.parametrize(
    ("options", "field", "message"),
    [
        ({"aggregates": {"x": "a + 1"}}, "options.aggregates.x", "write one function"),
        ({"aggregates": {"x": "median(a)"}}, "options.aggregates.x", "unknown function 'median'"),
        ({"aggregates": {"x": "sum()"}}, "options.aggregates.x", "sum() of what?"),
        ({"aggregates": {"x": "sum(b)"}}, "options.aggregates.x", "column 5: unknown column 'b'"),
        ({"aggregates": {"x": "sum(k)"}}, "options.aggregates.x", "no value of string"),
        ({"aggregates": {"x": "min(l)"}}, "options.aggregates.x", "no value of list<int64>"),
        ({"aggregates": {"x": "quantile(a)"}}, "options.aggregates.x", "needs a number"),
        ({"aggregates": {"x": "quantile(a, 2)"}}, "options.aggregates.x", "from 0 to 1"),
        ({"aggregates": {"x": "collect(a, 0)"}}, "options.aggregates.x", "from 1 to 1,000,000"),
        ({"aggregates": {"k": "count()"}, "groupBy": ["k"]}, "options.aggregates.k", "another"),
        ({"aggregates": {"__error": "count()"}}, "options.aggregates.__error", "another"),
        (
            {"aggregates": {"x": "count()"}, "groupBy": ["z"]},
            "options.groupBy[0]",
            "unknown column",
        ),
        ({"aggregates": {"x": "count()"}, "groupBy": ["l"]}, "options.groupBy[0]", "list<int64>"),
        ({"aggregates": {"x": "count()"}, "emit": "early"}, "options.earlyInterval", "how often"),
        (
            {"aggregates": {"x": "count()"}, "earlyInterval": "1s"},
            "options.earlyInterval",
            "emit: early",
        ),
    ],
)
def test_options_that_do_not_go_together_are_told_by_their_path(
    options: Mapping[str, Any], field: str, message: str
) -> None:
    """When the pipeline is created, and again at the first batch for columns unknown by then."""
    columns = {"a": "int64", "k": "string", "l": "list<int64>"}
    ((path, told),) = problems(SPEC, options, columns)
    assert path == field
    assert message in told
    given = batch(a=[1], k=["x"], l=[[1]])
    with pytest.raises(Rejected) as refused:
        whole(options, given)
    assert message in str(refused.value)


def test_a_list_keeps_the_order_of_results() -> None:
    """No JSON library can lose it."""
    listed = [{"name": "z", "expression": "count()"}, {"name": "a", "expression": "sum(a)"}]
    assert [list(row) for row in whole({"aggregates": listed}, batch(a=[1]))] == [["z", "a"]]


def test_first_and_last_are_those_that_came_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over any number of merges of parts."""
    monkeypatch.setattr(memory, "BUFFER_ROWS", 2)
    options = {
        "groupBy": ["k"],
        "aggregates": {"f": "first(a)", "l": "last(a)", "c": "collect(a, 3)"},
    }
    batches = [batch(k=[n % 3, (n + 1) % 3], a=[n, n + 100]) for n in range(40)]
    expected: dict[int, list[int]] = {}
    for row in (row for each in batches for row in each.to_pylist()):
        expected.setdefault(row["k"], []).append(row["a"])
    assert whole(options, *batches) == [
        {"k": key, "f": rows[0], "l": rows[-1], "c": rows[:3]}
        for key, rows in sorted(expected.items())
    ]


def test_many_groups_come_out_in_parts_in_the_order_of_their_keys() -> None:
    """No single batch holds ten million groups."""
    keys = pa.array(range(300_000, 0, -1))
    life = Life({"groupBy": ["k"], "aggregates": {"n": "count()"}})
    life.take(batch(k=keys))
    life.end()
    assert [each.num_rows for each in life.batches[""]] == [131_072, 131_072, 37_856]
    assert life.table()["k"].to_pylist() == list(range(1, 300_001))


def test_what_is_told_is_what_changed() -> None:
    """A checkpoint of a large state and few new rows is small; without new rows there is none."""
    options = {"groupBy": ["k"], "aggregates": {"s": "sum(k)"}}
    life = Life(options)
    life.take(batch(k=list(range(50_000))))
    parts = [life.step.changes(whole=False)]
    assert life.step.changes(whole=False) is None
    life.take(batch(k=[1, 2]))
    parts.append(life.step.changes(whole=False))
    everything = life.step.changes(whole=True)
    assert len(parts[1] or b"") * 20 < len(parts[0] or b"")
    ended = life.end()
    for told in (parts, [everything]):
        again = Life(options, parts=[part for part in told if part is not None])
        assert again.step.changes(whole=False) is None
        assert again.end() == ended


def test_a_state_that_cannot_be_read_is_told_and_not_guessed() -> None:
    """Going on without it would lose rows."""
    life = Life({"aggregates": {"n": "count()"}})
    life.take(batch(a=[1]))
    told = life.step.changes(whole=True)
    assert told is not None
    with pytest.raises(Corrupted):
        Life({"aggregates": {"n": "count()"}}, parts=[told[:-9]])


def test_columns_may_come_and_go_and_the_types_that_are_grouped_may_not() -> None:
    """A sum of two types would be neither."""
    life = Life({"groupBy": ["k"], "aggregates": {"s": "sum(a)"}})
    life.take(batch(k=["x"], a=[1]))
    life.take(batch(more=[0], a=[2], k=["x"]))
    with pytest.raises(Rejected, match="other types"):
        life.take(batch(k=["x"], a=[1.5]))
    assert life.end() == [{"k": "x", "s": 3}]


def test_results_come_when_the_last_input_has_ended() -> None:
    """Several inputs are one table."""
    life = Life({"aggregates": {"n": "count()"}}, inputs=("one", "two"))
    life.take(batch(a=[1]), name="one")
    life.take(batch(a=[2]), name="two")
    assert life.end(name="one") == []
    told = life.step.changes(whole=True) or b""
    assert life.end(name="two") == [{"n": 2}]
    again = Life({"aggregates": {"n": "count()"}}, inputs=("one", "two"), parts=[told])
    assert again.end(name="two") == [{"n": 2}]


def test_each_run_of_a_scheduled_input_is_a_run_of_its_own() -> None:
    """Its results come when it begins again, or at the end; what was is not told twice."""
    options = {"aggregates": {"n": "count()"}}
    life = Life(options)
    life.take(batch(a=[1, 2]))
    parts = [life.step.changes(whole=False)]
    assert life.begin_again() == [{"n": 2}]
    life.take(batch(a=[3]))
    parts.append(life.step.changes(whole=False))
    assert life.end() == [{"n": 1}]
    again = Life(options, parts=[part for part in parts if part is not None])
    assert again.end() == [{"n": 1}]


def test_early_results_show_what_has_changed_and_the_last_says_so() -> None:
    """By the steady clock: a jump of the time of day changes nothing."""
    options = {
        "groupBy": ["k"],
        "aggregates": {"n": "count()"},
        "emit": "early",
        "earlyInterval": "10s",
        "finalColumn": "last",
    }
    life = Life(options)
    life.take(batch(k=["a", "b"]))
    assert life.tick(9) == []
    assert life.tick(1) == [{"k": key, "n": 1, "last": False} for key in "ab"]
    life.take(batch(k=["b"]))
    assert life.tick(10) == [{"k": "b", "n": 2, "last": False}]
    assert life.tick(10) == []
    assert life.end() == [{"k": "a", "n": 1, "last": True}, {"k": "b", "n": 2, "last": True}]


def test_the_state_is_counted_in_bytes() -> None:
    """The engine holds a step to its limit by this."""
    life = Life({"groupBy": ["k"], "aggregates": {"n": "count()"}})
    assert life.step.state_bytes == 0
    life.take(batch(k=list(range(10_000))))
    before = life.step.state_bytes
    life.step.changes(whole=False)
    assert before >= 80_000
    assert life.step.state_bytes >= 160_000
    life.end()
    assert life.step.state_bytes == 0


def test_a_time_column_without_a_window_is_a_column_as_others() -> None:
    """Whole runs need no time."""
    assert one("max(a)", times(1, 5, 3)) == times(5)[0].as_py()
