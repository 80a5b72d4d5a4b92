"""``map``: compute, rename, cast, constants, drop, keep, in this order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from dataflow.connect import Rejected
from dataflow.connect.transform import ERROR, MAIN, ORDINAL
from dataflow.transforms.map_spec import SPEC
from tests.unit.transforms.rig import batch, opened, problems, rows, schema

FLIGHTS = {
    "arr_delay": "float64",
    "distance": "int64",
    "air_time": "float64",
    "flight": "int64",
    "carrier": "string",
    "tailnum": "string",
}
SHAPE: Mapping[str, Any] = {
    "rename": {"arr_delay": "delay"},
    "compute": {"speed": "distance / (air_time / 60.0)"},
    "cast": {"flight": "string"},
    "constants": {"source": "nyc"},
    "drop": ["tailnum"],
    "keep": ["carrier", "flight", "delay", "speed", "source"],
}


def shown(options: Mapping[str, Any], **columns: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - any data
    """Return what becomes of a batch, without the engine's column."""
    found = rows(opened(SPEC, options).apply(batch(**columns)))
    return [{name: row[name] for name in row if name != ORDINAL} for row in found]


def test_the_options_of_the_manual_give_these_columns_in_this_order() -> None:
    """The example that users start from."""
    given = batch(
        arr_delay=[45.0],
        distance=[600],
        air_time=[90.0],
        flight=[1545],
        carrier=["UA"],
        tailnum=["N1"],
    )
    made = opened(SPEC, SHAPE).apply(given).batches[MAIN]
    assert made.schema.names == ["carrier", "flight", "delay", "speed", "source", ORDINAL]
    assert made.to_pylist() == [
        {
            "carrier": "UA",
            "flight": "1545",
            "delay": 45.0,
            "speed": 400.0,
            "source": "nyc",
            ORDINAL: 0,
        }
    ]
    assert problems(SPEC, SHAPE, FLIGHTS) == []
    assert schema(SPEC, SHAPE, FLIGHTS) == {
        "carrier": "string",
        "flight": "string",
        "delay": "float64",
        "speed": "float64",
        "source": "string",
    }


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"compute": {"b": "a + 1", "c": "b * 10"}}, {"a": 1, "b": 2, "c": 20}),
        ({"compute": [{"name": "b", "expression": "a + 1"}]}, {"a": 1, "b": 2}),
        ({"compute": {"a": "a + 1", "b": "a"}}, {"a": 2, "b": 2}),
        ({"compute": {"b": "a"}, "rename": {"a": "x", "b": "y"}}, {"x": 1, "y": 1}),
        ({"rename": {"a": "x"}, "cast": {"x": "string"}}, {"x": "1"}),
        ({"cast": {"a": "string"}, "constants": {"a": True}}, {"a": True}),
        ({"constants": {"b": 2.5}, "drop": ["a"]}, {"b": 2.5}),
        ({"constants": {"b": 7}, "keep": ["b", "a"]}, {"b": 7, "a": 1}),
        ({}, {"a": 1}),
    ],
)
def test_each_option_sees_what_those_before_it_made(
    options: Mapping[str, Any], expected: Mapping[str, Any]
) -> None:
    """The order is part of the contract: compute, rename, cast, constants, drop, keep."""
    (row,) = shown(options, a=[1])
    assert list(row.items()) == list(expected.items())


def test_names_can_be_swapped() -> None:
    """All new names are given at once."""
    assert shown({"rename": {"a": "b", "b": "a"}}, a=[1], b=[2]) == [{"b": 1, "a": 2}]


def test_nested_fields_are_taken_out_by_a_path_or_by_an_expression() -> None:
    """The parent stays until it is dropped; a column whose name has a dot goes first."""
    given = {"u": [{"name": "Ann", "home": {"zip": 1}}], "u.name": ["dotted"]}
    options = {
        "rename": {"$.u.home.zip": "zip", "u.name": "name"},
        "compute": {"upper": "upper(u.name)"},
        "drop": ["u"],
    }
    assert shown(options, **given) == [{"name": "dotted", "upper": "ANN", "zip": 1}]


def test_rows_that_cannot_be_cast_or_computed_are_refused_and_the_others_pass() -> None:
    """Each refused row keeps its own columns and ordinal, and says which column failed first."""
    given = batch(first=5, a=["1", "x", "3", "y"], b=["1", "1", "z", "z"])
    options = {"compute": {"c": "CAST(b AS int)"}, "rename": {"a": "n"}, "cast": {"n": "int"}}
    output = opened(SPEC, options).apply(given)
    assert [(row["n"], row["c"], row[ORDINAL]) for row in rows(output)] == [(1, 1, 5)]
    assert output.rejected is not None
    bad = output.rejected.to_pylist()
    assert [(row["a"], row["b"], row[ORDINAL]) for row in bad] == [
        ("x", "1", 6),
        ("3", "z", 7),
        ("y", "z", 8),
    ]
    assert bad[0][ERROR] == "n: 'x' is no int64"
    assert [row[ERROR].startswith("c: ") for row in bad] == [False, True, True]
    assert output.rejected.schema.names == ["a", "b", ORDINAL, ERROR]


def test_an_empty_batch_keeps_the_schema_of_a_full_one() -> None:
    """The next step and the sink see the same columns, however many rows there are."""
    transform = opened(SPEC, {"compute": {"b": "a / 2"}, "constants": {"c": "x"}})
    full = transform.apply(batch(a=[1])).batches[MAIN]
    empty = transform.apply(batch(a=pa.array([], pa.int64()))).batches[MAIN]
    assert (empty.num_rows, empty.schema) == (0, full.schema)


def test_columns_that_no_option_changes_are_not_copied() -> None:
    """Zero-copy: the buffers that go out are those that came in, and so are their fields."""
    text = pa.array(["x"], pa.large_string())
    field = pa.field("t", text.type, nullable=False)
    given = pa.record_batch([text], schema=pa.schema([field]))
    made = opened(SPEC, {"rename": {"t": "u"}, "cast": {"u": "string"}, "constants": {"c": 1}})
    out = made.apply(given).batches[MAIN]
    assert out.schema.field("u") == field.with_name("u")
    theirs, ours = (column.buffers()[2] for column in (text, out.column("u")))
    assert theirs is not None
    assert ours is not None
    assert ours.address == theirs.address


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        ({"compute": {"x": "a +"}}, "compute.x", "line 1, column 4"),
        ({"compute": {"x": "nope"}}, "compute.x", "columns: a, s"),
        ({"compute": {"x": "a || 1"}}, "compute.x", "line 1, column 1"),
        ({"compute": {"__ordinal": "a"}}, "compute.__ordinal", "engine's own"),
        ({"rename": {"nope": "x"}}, "rename.nope", "unknown column 'nope'; there are a, s"),
        ({"rename": {"a": "s"}}, "rename", "two columns would be named 's'"),
        ({"rename": {"s.b": "a"}}, "rename", "two columns would be named 'a'"),
        ({"rename": {"s.c": "x"}}, "rename.s.c", "fields: b"),
        ({"rename": {"a": "__error"}}, "rename.a", "engine's own"),
        ({"rename": {"__ordinal": "x"}}, "rename.__ordinal", "engine's own"),
        ({"cast": {"nope": "int"}}, "cast.nope", "there are a, s"),
        ({"cast": {"a": "inte"}}, "cast.a", "unknown type 'inte'"),
        ({"cast": {"s": "string"}}, "cast.s", "can't convert struct<b: int64> to string"),
        ({"constants": {"__ordinal": 1}}, "constants.__ordinal", "engine's own"),
        ({"drop": ["nope"]}, "drop", "there are a, s"),
        ({"drop": ["__ordinal"]}, "drop", "engine's own"),
        ({"drop": ["a", "s"]}, "drop", "no column would be left"),
        ({"drop": ["a"], "keep": ["a"]}, "keep", "unknown column 'a'; there are s"),
        ({"keep": ["a", "a"]}, "keep", "named twice"),
    ],
)
def test_what_is_wrong_is_reported_by_its_option_at_create_and_at_the_first_batch(
    options: Mapping[str, Any], field: str, said: str
) -> None:
    """Both find the same: a source that declares its columns only lets it be found earlier."""
    columns = {"a": "int64", "s": "struct<b: int64>"}
    found = problems(SPEC, options, columns)
    assert [(where, said in message) for where, message in found][:1] == [
        (f"options.{field}", True)
    ]
    assert schema(SPEC, options, columns) is None
    with pytest.raises(Rejected) as raised:
        opened(SPEC, options).apply(batch(a=[1], s=[{"b": 2}]))
    assert said in str(raised.value)
    assert f"options.{field}" in str(raised.value)


def test_every_problem_is_reported_at_once_and_one_mistake_only_once() -> None:
    """What depends on a column with a problem is not blamed for it."""
    options = {"compute": {"x": "nope", "y": "x + 1"}, "cast": {"y": "zahl"}, "drop": ["z"]}
    found = problems(SPEC, options, {"a": "int64"})
    assert [field for field, _ in found] == ["options.compute.x", "options.cast.y", "options.drop"]


def test_where_the_columns_are_unknown_only_what_needs_none_is_checked() -> None:
    """Syntax, types and names; the rest is bound at the first batch."""
    options = {
        "compute": {"x": "a +"},
        "rename": {"a": "b", "c": "b"},
        "cast": {"q": "nope"},
        "drop": ["z"],
        "keep": ["b"],
    }
    found = problems(SPEC, options)
    assert [field for field, _ in found] == [
        "options.compute.x",
        "options.rename",
        "options.cast.q",
    ]
    assert problems(SPEC, SHAPE) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"compute": [{"name": "a"}]}, "list of {name, expression}"),
        ({"compute": [{"name": "a", "expression": "1"}] * 2}, "used twice"),
        ({"constants": {"a": None}}, "options.constants"),
        ({"constants": {"a": 2**63}}, "options.constants"),
        ({"keep": []}, "options.keep"),
        ({"renam": {}}, "unknown option"),
    ],
)
def test_options_are_closed_typed_and_bounded(options: Mapping[str, Any], said: str) -> None:
    """Refused before anything starts, by the path of the option."""
    with pytest.raises(Rejected) as raised:
        opened(SPEC, options)
    assert said in str(raised.value)


def test_two_columns_of_one_name_are_refused() -> None:
    """An option could mean either."""
    given = pa.record_batch([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(Rejected, match="two columns are named 'a'"):
        opened(SPEC, {"rename": {"a": "b"}}).apply(given)
