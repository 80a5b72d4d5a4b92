"""``filter``: true passes, false and NULL do not, and a row without a value is refused."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pytest

from dataflow.connect import Rejected
from dataflow.connect.transform import ERROR, MAIN, ORDINAL
from dataflow.transforms.filter_spec import SPEC
from tests.unit.transforms.rig import batch, opened, problems, rows, schema


def test_a_row_passes_where_the_expression_is_true_and_not_where_it_is_false_or_null() -> None:
    """SQL's WHERE keeps what is true; NULL is not known to be."""
    output = opened(SPEC, {"expression": "a > 1"}).apply(batch(a=[1, 2, None, 3], first=7))
    assert rows(output) == [{"a": 2, ORDINAL: 8}, {"a": 3, ORDINAL: 10}]
    assert (output.filtered, output.rejected) == (2, None)


@pytest.mark.parametrize(
    ("expression", "kept"),
    [
        ("status == active", [0]),
        ("$.user.age == 30", [0, 2]),
        ("user.age > 30 OR status = 'gone'", [1, 2]),
        ("NULL", []),
        ("TRUE", [0, 1, 2]),
    ],
)
def test_simple_and_nested_forms_work(expression: str, kept: list[int]) -> None:
    """The forms that users of other tools bring along."""
    given = batch(status=["active", "idle", "gone"], user=[{"age": 30}, {"age": 31}, {"age": 30}])
    output = opened(SPEC, {"expression": expression}).apply(given)
    assert [row[ORDINAL] for row in rows(output)] == kept
    assert output.filtered == 3 - len(kept)


def test_a_batch_that_passes_whole_is_not_copied() -> None:
    """A filter that keeps everything costs its mask and nothing else."""
    given = batch(a=[1, 2])
    assert opened(SPEC, {"expression": "a > 0"}).apply(given).batches[MAIN] is given


def test_rows_without_a_value_are_refused_with_their_columns_and_the_reason() -> None:
    """The others pass: one bad record is no reason to lose its neighbours."""
    given = batch(a=["1", "x", "0", "3"])
    output = opened(SPEC, {"expression": "CAST(a AS int) > 0"}).apply(given)
    assert [row["a"] for row in rows(output)] == ["1", "3"]
    assert output.filtered == 1
    assert output.rejected is not None
    assert output.rejected.schema.field(ERROR).type == pa.large_string()
    (bad,) = output.rejected.to_pylist()
    assert (bad["a"], bad[ORDINAL]) == ("x", 1)
    assert "'x' is no int64" in bad[ERROR]


def test_an_empty_batch_keeps_its_schema() -> None:
    """The next step sees the same columns, however many rows pass."""
    transform = opened(SPEC, {"expression": "a > 1"})
    for given in (batch(a=[1]), batch(a=pa.array([], pa.int64()))):
        output = transform.apply(given)
        assert (output.batches[MAIN].num_rows, output.batches[MAIN].schema) == (0, given.schema)


@pytest.mark.parametrize(
    ("expression", "columns", "said"),
    [
        ("a >", None, "line 1, column 4: expected a value"),
        ("a > 1 AND\nb = )", None, "line 2, column"),
        ("nope > 1", {"a": "int64", "b": "string"}, "unknown column 'nope'"),
        ("nope > 1", {"a": "int64", "b": "string"}, "columns: a, b"),
        ("a || 'x' = 3", {"a": "int64"}, "line 1, column 1"),
        ("a + 1", {"a": "int64"}, "where bool is needed"),
        ("__ordinal > 1", {"a": "int64"}, "unknown column '__ordinal'"),
    ],
)
def test_a_wrong_expression_is_reported_when_the_pipeline_is_created(
    expression: str, columns: Mapping[str, str] | None, said: str
) -> None:
    """With its place in the text, and with the columns where they are known."""
    ((field, message),) = problems(SPEC, {"expression": expression}, columns)
    assert field == "options.expression"
    assert said in message


def test_a_right_expression_has_no_problems_and_the_same_columns_go_out() -> None:
    """The next step is checked against what the filter passes on."""
    columns = {"a": "int64", "b": "timestamp(us, 'UTC')"}
    options = {"expression": "a > 1 AND b IS NOT NULL"}
    assert problems(SPEC, options, columns) == []
    assert problems(SPEC, options) == []
    assert schema(SPEC, options, columns) == columns


@pytest.mark.parametrize("expression", ["nope > 1", "__ordinal > 0", "b"])
def test_what_was_not_known_when_the_pipeline_was_created_is_refused_at_the_first_batch(
    expression: str,
) -> None:
    """A source that declares no schema shows its columns only then."""
    with pytest.raises(Rejected) as raised:
        opened(SPEC, {"expression": expression}).apply(batch(a=[1], b=["x"]))
    assert raised.value.field == "options.expression"
    assert "columns: a, b" in str(raised.value) or "where bool is needed" in str(raised.value)


def test_an_expression_is_bound_again_where_the_columns_change() -> None:
    """A schema that widens between two files is no error by itself."""
    transform = opened(SPEC, {"expression": "a > 1"})
    assert len(rows(transform.apply(batch(a=[1, 2])))) == 1
    assert len(rows(transform.apply(batch(a=[1.5, 0.5], b=["x", "y"])))) == 1


def test_a_misspelt_option_is_refused() -> None:
    """Options are closed: what is not known would have done nothing."""
    with pytest.raises(Rejected, match="unknown option"):
        opened(SPEC, {"expresion": "a > 1", "expression": "a"})
