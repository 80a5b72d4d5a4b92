"""One text in all of Arrow's forms: readers differ in what they produce, rows must not."""

from __future__ import annotations

import concurrent.futures

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dataflow.core.errors import Code
from dataflow.expressions import ExpressionError, parse, parse_type
from dataflow.expressions.compile import compile_expression, from_arrow, to_arrow
from dataflow.expressions.vector import Array, nulls

TEXTS: list[object] = ["DE", None, "fré", "DE"]
FORMS = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.dictionary(pa.int32(), pa.string()),
    pa.dictionary(pa.int8(), pa.large_string()),
]
EXPRESSIONS: list[tuple[str, list[object]]] = [
    ("s = 'DE'", [True, None, False, True]),
    ("s IN ('DE', 'a', 'b', 'c', 'd')", [True, None, False, True]),
    ("upper(s)", ["DE", None, "FRÉ", "DE"]),
    ("s || '!'", ["DE!", None, "fré!", "DE!"]),
    ("s", TEXTS),
    ("coalesce(s, 'x')", ["DE", "x", "fré", "DE"]),
    ("CASE s WHEN 'DE' THEN s ELSE 'x' END", ["DE", "x", "x", "DE"]),
    ("CASE WHEN s = 'DE' THEN 1 ELSE s::int64 END", [1, None, None, 1]),
    ("a.s", TEXTS),
    ("l[0]", TEXTS),
    ("l", [["DE"], [None], ["fré"], ["DE"]]),
]


def stored(form: pa.DataType) -> pa.RecordBatch:
    """Return the texts in one form: as a column, in a struct and in a list."""
    column: Array = pa.array(TEXTS)
    column = pc.dictionary_encode(column) if pa.types.is_dictionary(form) else column
    column = pc.cast(column, form)
    return pa.RecordBatch.from_arrays(
        [
            column,
            pa.StructArray.from_arrays([column], names=["s"]),
            pa.ListArray.from_arrays(pa.array([0, 1, 2, 3, 4], pa.int32()), column),
        ],
        names=["s", "a", "l"],
    )


@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize(("text", "expected"), EXPRESSIONS, ids=[text for text, _ in EXPRESSIONS])
def test_every_form_of_a_text_gives_the_same_rows(
    form: pa.DataType, text: str, expected: list[object]
) -> None:
    """Polars gives large strings or views, Parquet dictionaries, pyarrow strings."""
    batch = stored(form)
    compiled = compile_expression(parse(text), batch.schema)
    outcome = compiled.evaluate_rows(batch)
    assert outcome.values.to_pylist() == expected
    assert outcome.values.type == to_arrow(compiled.type)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_batches_may_change_their_form(form: pa.DataType) -> None:
    """A pipeline that is resumed may get its rows from another reader than before."""
    compiled = compile_expression(parse("s = 'DE'"), stored(pa.string()).schema)
    assert compiled.evaluate(stored(form)).to_pylist() == [True, None, False, True]


def test_a_batch_of_another_type_is_refused() -> None:
    """A column whose type changed under a running pipeline must not be converted in silence."""
    compiled = compile_expression(parse("s = 'DE'"), stored(pa.string()).schema)
    for batch in (pa.record_batch({"s": [1]}), pa.record_batch({"t": ["x"]})):
        with pytest.raises(ExpressionError) as raised:
            compiled.evaluate(batch)
        assert raised.value.code == Code.SOURCE_CHANGED


def test_columns_may_stand_in_another_order() -> None:
    """A column is found by its name."""
    compiled = compile_expression(parse("a - b"), pa.schema({"a": pa.int64(), "b": pa.int64()}))
    batch = pa.record_batch({"c": [0], "b": [1], "a": [3]})
    assert compiled.evaluate(batch).to_pylist() == [2]
    assert compiled.columns == {"a", "b"}


def test_slices_are_read_where_they_are() -> None:
    """A slice shares its parent's buffers, with an offset that lists and structs each keep."""
    table = pa.Table.from_batches([stored(pa.string())] * 3).combine_chunks()
    batch = table.to_batches()[0].slice(5, 4)
    for text, expected in EXPRESSIONS:
        compiled = compile_expression(parse(text), batch.schema)
        found = compiled.evaluate_rows(batch).values.to_pylist()
        assert found == expected[1:] + expected[:1], text


def test_an_empty_batch_gives_an_empty_column() -> None:
    """A chunk may hold nothing but rejected records."""
    batch = stored(pa.string()).slice(0, 0)
    for text, _ in EXPRESSIONS:
        compiled = compile_expression(parse(text), batch.schema)
        assert compiled.evaluate(batch).to_pylist() == []


def test_a_mask_has_no_null() -> None:
    """A filter keeps the rows where it is true: not false, and not NULL."""
    batch = stored(pa.string())
    assert compile_expression(parse("s = 'DE'"), batch.schema).mask(batch).to_pylist() == [
        True,
        False,
        False,
        True,
    ]
    assert compile_expression(parse("NULL"), batch.schema).mask(batch).to_pylist() == [False] * 4
    with pytest.raises(ExpressionError, match="a predicate is bool, and this is string"):
        compile_expression(parse("s"), batch.schema).mask(batch)


def test_threads_may_share_a_compiled_expression() -> None:
    """Transforms run in threads; one compiled expression serves all of them."""
    batch = pa.record_batch({"v": list(range(1_000))})
    compiled = compile_expression(parse("CASE WHEN v % 2 = 0 THEN v * 2 ELSE v END"), batch.schema)
    wanted = compiled.evaluate(batch)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(compiled.evaluate, [batch] * 50))
    assert all(values.equals(wanted) for values in found)


REFUSED = [
    ("regexp_matches(s, '(')", "invalid regular expression: missing )"),
    (r"regexp_matches(s, '(?=a)')", "invalid regular expression"),
    (r"regexp_matches(s, '(a)\1')", "invalid regular expression"),
    (r"regexp_replace(s, 'a', '\9')", "invalid replacement"),
    ("CAST(s AS timestamp(us, 'Nowhere/X')) > '2024-01-01'", "no time zone 'Nowhere/X'"),
]


@pytest.mark.parametrize(("text", "problem"), REFUSED, ids=[text for text, _ in REFUSED])
def test_what_only_a_kernel_can_check_is_checked_before_the_first_row(
    text: str, problem: str
) -> None:
    """A pipeline must refuse to start, not fail on the first row that reaches the branch."""
    with pytest.raises(ExpressionError, match=problem.replace("(", r"\(").replace(")", r"\)")):
        compile_expression(parse(text), stored(pa.string()).schema)


@pytest.mark.usefixtures("hurry")
def test_no_pattern_is_slow() -> None:
    """RE2 takes time linear in the text; a backtracking engine would take years for this one."""
    batch = pa.record_batch({"s": ["a" * 50_000 + "!"]})
    for text in ("regexp_matches(s, '^(a+)+$')", f"s LIKE '{'%a' * 500}'"):
        assert compile_expression(parse(text), batch.schema).evaluate(batch).to_pylist() == [False]


def test_two_columns_of_one_name_are_refused() -> None:
    """Which of them is meant nobody knows."""
    schema = pa.schema([pa.field("a", pa.int64()), pa.field("a", pa.int64())])
    with pytest.raises(ExpressionError, match="two columns named 'a'"):
        compile_expression(parse("a + 1"), schema)


ROUND_TRIPS = [
    *("null", "bool", "int8", "uint64", "float32", "string", "bytes", "date", "time(ns)"),
    *("timestamp(ms)", "timestamp(ns, 'Asia/Tokyo')", "duration(s)", "decimal(5, 2)"),
    *("decimal(60, 3)", "list<list<string>>", "struct<a: int64, b: struct<c: bool>>"),
]


@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_a_type_and_its_arrow_type_are_one(name: str) -> None:
    """A declared schema becomes Arrow's and comes back when a file is read again."""
    of = parse_type(name)
    assert from_arrow(to_arrow(of)) == of


ARROW = [
    (pa.large_string(), "string"),
    (pa.string_view(), "string"),
    (pa.large_binary(), "bytes"),
    (pa.binary(16), "bytes"),
    (pa.date64(), "date"),
    (pa.float16(), "float32"),
    (pa.decimal32(5, 2), "decimal(5, 2)"),
    (pa.large_list(pa.string_view()), "list<string>"),
    (pa.list_(pa.int8(), 3), "list<int8>"),
    (pa.dictionary(pa.int8(), pa.string()), "string"),
    (pa.dictionary(pa.int8(), pa.int64()), "int64"),
    (pa.map_(pa.string(), pa.int64()), "map<string, int64>"),
    (pa.list_view(pa.int64()), "list_view<item: int64>"),
]


@pytest.mark.parametrize(("arrow", "expected"), ARROW, ids=[str(arrow) for arrow, _ in ARROW])
def test_every_arrow_type_has_a_type(arrow: pa.DataType, expected: str) -> None:
    """A column that expressions can't compute with must not make the others unusable."""
    assert str(from_arrow(arrow)) == expected
    schema = pa.schema([pa.field("v", arrow), pa.field("n", pa.int64())])
    batch = pa.RecordBatch.from_arrays([nulls(arrow, 2), pa.array([1, 2])], schema=schema)
    for text, values in (("v IS NULL", [True, True]), ("n + 1", [2, 3]), ("v", [None, None])):
        assert compile_expression(parse(text), schema).evaluate(batch).to_pylist() == values
