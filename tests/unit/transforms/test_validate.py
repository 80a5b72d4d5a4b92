"""``validate``: rows that do not fit are refused with all reasons; columns are kept to a policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from dataflow.connect import Output, Rejected
from dataflow.connect.transform import ERROR, MAIN, ORDINAL
from dataflow.connect.types import from_arrow, parse_type
from dataflow.transforms.validate_spec import SPEC
from tests.unit.transforms.rig import batch, opened, problems, rows, schema


def applied(options: Mapping[str, Any], **columns: Any) -> Output:  # noqa: ANN401 - any data
    """Return what becomes of a batch."""
    return opened(SPEC, options).apply(batch(**columns))


def reasons(output: Output) -> Mapping[int, str]:
    """Return why rows were refused, by their numbers."""
    refused = output.rejected.to_pylist() if output.rejected else []
    return {row[ORDINAL]: row[ERROR] for row in refused}


def values(output: Output, name: str) -> list[Any]:
    """Return one column of what goes out."""
    return [row[name] for row in rows(output)]


def test_a_row_is_refused_with_everything_that_is_wrong_with_it() -> None:
    """Whoever mends a record wants to mend it once."""
    options = {
        "columns": {
            "price": {"type": "float64", "min": 0, "nullable": False},
            "country": {"pattern": "^[A-Z]{2}$", "enum": ["DE", "FR", "de"]},
        }
    }
    output = applied(
        options,
        price=["1.5", "-2", "x", None, "7"],
        country=["DE", "de", "GER", "FR", None],
    )
    assert values(output, "price") == [1.5, 7.0]
    assert reasons(output) == {
        1: "price: -2 is less than 0; country: 'de' does not match ^[A-Z]{2}$",
        2: "price: 'x' is no float64; country: 'GER' does not match ^[A-Z]{2}$;"
        " country: 'GER' is none of 'DE', 'FR', 'de'",
        3: "price is NULL",
    }
    assert output.rejected is not None
    assert output.rejected.column("price").to_pylist() == ["-2", "x", None]
    assert output.filtered == 0


@pytest.mark.parametrize(
    ("asked", "given", "bad"),
    [
        ({"nullable": False}, [1, None], {1: "c is NULL"}),
        (
            {"min": 2, "max": 3},
            [1, 2, 3, 4, None],
            {0: "c: 1 is less than 2", 3: "c: 4 is more than 3"},
        ),
        (
            {"min": -0.5},
            [-1.0, -0.25, float("nan")],
            {0: "c: -1 is less than -0.5", 2: "c: nan is less than -0.5"},
        ),
        ({"max": "b"}, ["a", "b", "ba"], {2: "c: 'ba' is more than b"}),
        ({"pattern": "a.c"}, ["xabcx", "ac", None], {1: "c: 'ac' does not match a.c"}),
        ({"pattern": "it's"}, ["it's", "its"], {1: "c: 'its' does not match it's"}),
        ({"enum": [1, 2]}, [1, 3, None], {1: "c: 3 is none of 1, 2"}),
        ({"enum": [True]}, [True, False], {1: "c: false is none of TRUE"}),
        (
            {"lengthMin": 2},
            ["é", "éé", ""],
            {0: "c: 'é' is shorter than 2", 2: "c: '' is shorter than 2"},
        ),
        ({"lengthMax": 1}, [[1], [1, 2], None], {1: "c is longer than 1"}),
        ({"lengthMax": 99}, ["x" * 100], {0: f"c: '{'x' * 64}' is longer than 99"}),
    ],
)
def test_each_rule_refuses_what_breaks_it_and_lets_null_pass(
    asked: Mapping[str, Any], given: list[Any], bad: Mapping[int, str]
) -> None:
    """Only ``nullable`` speaks about NULL; a long value is cut in the reason."""
    output = applied({"columns": {"c": asked}}, c=given)
    assert reasons(output) == bad
    assert len(rows(output)) == len(given) - len(bad)


def test_dates_and_moments_have_bounds_written_as_texts() -> None:
    """JSON has no other way to write one."""
    dates = pa.array(["2013-01-01", "2014-01-01"]).cast(pa.date32())
    output = applied({"columns": {"d": {"max": "2013-12-31"}}}, d=dates)
    assert reasons(output) == {1: "d: 2014-01-01 is more than 2013-12-31"}


@pytest.mark.parametrize(
    ("of", "given", "good", "bad"),
    [
        ("int32", pa.array([1, 2**31, None]), [1, None], {1: "2147483648"}),
        ("int64", pa.array([1.0, 1.5, None]), [1, None], {1: "c: 1.5 is no int64"}),
        ("float64", pa.array([1, 2**53 + 1]), [1.0], {1: "c: 9007199254740993 is no float64"}),
        ("float32", pa.array([0.5, 0.1]), [0.5], {1: "c: 0.1 is no float32"}),
        ("bool", pa.array(["true", "perhaps"]), [True], {1: "c: 'perhaps' is no bool"}),
        ("string", pa.array([1, None]), ["1", None], {}),
        ("int16", pa.array([1, 2], pa.int8()), [1, 2], {}),
        ("uint8", pa.array([1, -1]), [1], {1: "-1"}),
        ("int64", pa.nulls(2), [None, None], {}),
    ],
)
def test_a_column_goes_out_in_its_type_and_what_would_lose_something_is_refused(
    of: str, given: pa.Array[Any], good: list[Any], bad: Mapping[int, str]
) -> None:
    """A cast would cut 1.5 to 1; a check must not."""
    options = {"columns": {"c": {"type": of}}}
    output = applied(options, c=given)
    assert values(output, "c") == good
    assert from_arrow(output.batches[MAIN].schema.field("c").type) == parse_type(of)
    found = reasons(output)
    assert found.keys() == bad.keys()
    assert all(said in found[at] for at, said in bad.items())


@pytest.mark.parametrize(
    ("declared", "came", "goes_out"),
    [
        ("int32", "int64", "int64"),
        ("int64", "int32", "int64"),
        ("float32", "float64", "float64"),
        ("int32", "float64", "float64"),
        ("int64", "float64", "int64"),
        ("uint8", "int16", "int16"),
        ("decimal(10, 2)", "decimal(12, 3)", "decimal(12, 3)"),
        ("decimal(10, 2)", "decimal(10, 3)", "decimal(10, 2)"),
        ("timestamp(ms)", "timestamp", "timestamp"),
        ("timestamp", "timestamp(us, 'UTC')", "timestamp"),
        ("string", "int64", "string"),
    ],
)
def test_a_wider_column_goes_out_as_it_is_where_that_is_allowed(
    declared: str, came: str, goes_out: str
) -> None:
    """Wider is what holds every value of the declared type and more; other types are converted."""
    options = {"columns": {"c": {"type": declared}}, "widen": True}
    assert schema(SPEC, options, {"c": came}) == {"c": goes_out}
    assert schema(SPEC, {**options, "widen": False}, {"c": came}) == {"c": declared}


def test_a_wide_value_passes_with_widen_and_is_refused_without() -> None:
    """A table that evolves, and one that does not."""
    options = {"columns": {"c": {"type": "int32", "min": 1}}}
    given = {"c": pa.array([2**40, 0])}
    assert values(applied({**options, "widen": True}, **given), "c") == [2**40]
    assert len(reasons(applied(options, **given))) == 2


@pytest.mark.parametrize(
    ("unknown", "names"), [("keep", ["x", "a", "y"]), ("drop", ["a"]), (None, ["x", "a", "y"])]
)
def test_unknown_columns_are_kept_in_their_place_or_dropped(
    unknown: str | None, names: list[str]
) -> None:
    """An upstream that adds a column must not stop a pipeline, unless it is told to."""
    options = {"columns": {"a": {}}, **({"unknown": unknown} if unknown else {})}
    output = applied(options, x=[1], a=[2], y=[3])
    assert output.batches[MAIN].schema.names == [*names, ORDINAL]
    assert list(schema(SPEC, options, dict.fromkeys("xay", "int64")) or {}) == names


def test_missing_columns_go_out_as_nulls_of_their_type_behind_the_others() -> None:
    """So that the steps behind see one and the same table, whatever comes."""
    options = {
        "columns": {"b": {"type": "string", "lengthMin": 1}, "a": {}, "c": {"type": "list<int64>"}},
        "missing": "null",
    }
    with pytest.raises(Rejected, match="give the type"):
        applied(options, a=[1])
    options["columns"]["a"] = {"required": True}  # type: ignore[index]  # a mapping of this test
    output = applied(options, a=[1])
    assert rows(output) == [{"a": 1, "b": None, "c": None, ORDINAL: 0}]
    assert output.batches[MAIN].schema.field("b").type == pa.string()
    assert schema(SPEC, options, {"a": "int64"}) == {
        "a": "int64",
        "b": "string",
        "c": "list<int64>",
    }


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        ({"columns": {"z": {}}}, "columns.z", "the column does not come in; there are a, t"),
        ({"columns": {"z": {"required": True}}, "missing": "null"}, "columns.z", "not come in"),
        ({"columns": {"a": {}}, "unknown": "fail"}, "columns", "unknown columns come in: t;"),
        ({"columns": {"a": {"type": "date"}}}, "columns.a.type", "it comes in as int64;"),
        ({"columns": {"a": {"type": "itn"}}}, "columns.a.type", "unknown type 'itn'"),
        ({"columns": {"a": {"pattern": "x"}}}, "columns.a.pattern", "needs text"),
        ({"columns": {"a": {"min": "x"}}}, "columns.a.min", "can't compare int64 and string"),
        ({"columns": {"a": {"lengthMax": 1}}}, "columns.a.lengthMax", "length() needs text"),
        ({"columns": {"t": {"enum": [1]}}}, "columns.t.enum", "string"),
        ({"columns": {"__ordinal": {}}}, "columns.__ordinal", "a name of the engine's own"),
        (
            {"columns": {"a": {"type": "int64", "nullable": False}}, "missing": "null"},
            "columns.a.nullable",
            "make it required",
        ),
    ],
)
def test_what_does_not_go_with_the_columns_is_reported_at_creation_and_at_the_first_batch(
    options: Mapping[str, Any], field: str, said: str
) -> None:
    """By the path of the option."""
    found = problems(SPEC, options, {"a": "int64", "t": "string"})
    assert found[0][0] == f"options.{field}"
    assert said in found[0][1]
    with pytest.raises(Rejected) as raised:
        applied(options, a=[1], t=["x"])
    assert said in str(raised.value)


@pytest.mark.parametrize("asked", [{"min": 1e999}, {"enum": []}, {"lengthMin": -1}, {"mn": 1}])
def test_options_that_say_nothing_are_refused(asked: Mapping[str, Any]) -> None:
    """Options are closed and bounded."""
    with pytest.raises(Rejected, match=r"options\.columns"):
        opened(SPEC, {"columns": {"a": asked}})


def test_a_pattern_that_cannot_be_read_fails_the_pipeline() -> None:
    """RE2 reads it with the first batch."""
    with pytest.raises(Rejected, match=r"options\.columns\.a\.pattern: invalid regular expression"):
        applied({"columns": {"a": {"pattern": "("}}}, a=["x"])


def test_rules_are_bound_again_where_the_columns_change() -> None:
    """A schema that widens between two files is no error by itself."""
    step = opened(SPEC, {"columns": {"a": {"type": "int64", "min": 1}}})
    assert len(rows(step.apply(batch(a=[1, 2])))) == 2
    assert len(rows(step.apply(batch(a=["1", "x", "0"])))) == 1
