"""``flatMap``: a row for each item, beside its record's columns and with its number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pytest

from dataflow.connect import Output, Rejected
from dataflow.connect.transform import ERROR, MAIN, ORDINAL
from dataflow.transforms.flat_map_spec import SPEC
from tests.unit.transforms.rig import batch, opened, problems, rows, schema

TAGS = pa.array([["a", "b"], [], None, ["c", None]])
COLUMNS = {"id": "int64", "tags": "list<string>", "text": "string"}


def applied(options: Mapping[str, Any], **columns: Any) -> Output:  # noqa: ANN401 - any data
    """Return what becomes of a batch."""
    return opened(SPEC, options).apply(batch(**columns))


def test_a_row_goes_out_for_each_item_with_its_record_and_its_number() -> None:
    """A NULL in a list is an item; a record without items is filtered, the others are produced."""
    output = applied({"column": "tags", "into": "tag"}, id=[1, 2, 3, 4], tags=TAGS)
    assert rows(output) == [
        {"id": 1, "tag": "a", ORDINAL: 0},
        {"id": 1, "tag": "b", ORDINAL: 0},
        {"id": 4, "tag": "c", ORDINAL: 3},
        {"id": 4, "tag": None, ORDINAL: 3},
    ]
    assert (output.filtered, output.produced, output.rejected) == (2, 2, None)


def test_a_record_without_items_goes_out_once_with_null_where_that_is_asked_for() -> None:
    """An outer join keeps its left side."""
    output = applied({"column": "tags", "empty": "null"}, id=[1, 2, 3, 4], tags=TAGS)
    assert [(row["id"], row["tags"]) for row in rows(output)] == [
        *((1, "a"), (1, "b"), (2, None), (3, None), (4, "c"), (4, None))
    ]
    assert (output.filtered, output.produced) == (0, 2)


@pytest.mark.parametrize(
    ("delimiter", "items"),
    [
        (",", [["a", " b"], [None], [None], ["c"], ["", ""], ["x.y"]]),
        (", ", [["a", "b"], [None], [None], ["c"], [","], ["x.y"]]),
        (".", [["a, b"], [None], [None], ["c"], [","], ["x", "y"]]),
    ],
)
@pytest.mark.parametrize(
    "of", [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
def test_a_text_is_split_where_its_delimiter_stands_and_an_empty_one_has_no_items(
    delimiter: str, items: list[list[str | None]], of: pa.DataType
) -> None:
    """A delimiter is no pattern; a text without one is a single item."""
    texts = pa.array(["a, b", "", None, "c", ",", "x.y"]).cast(of)
    output = applied({"column": "t", "delimiter": delimiter, "empty": "null"}, t=texts)
    expected = [(at, item) for at, row in enumerate(items) for item in row]
    assert [(row[ORDINAL], row["t"]) for row in rows(output)] == expected


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["a", "tags", "z"]),
        ({"keepParent": False}, ["tags"]),
        ({"keepParent": False, "into": "a"}, ["a"]),
        ({"keep": ["z"]}, ["tags", "z"]),
        ({"keep": []}, ["tags"]),
        ({"keep": ["z", "a"], "into": "t"}, ["a", "t", "z"]),
    ],
)
def test_the_parent_goes_out_whole_in_part_or_not(
    options: Mapping[str, Any], names: list[str]
) -> None:
    """In the order of the columns that came in; the spec says the same as the rows."""
    given = {"column": "tags", **options}
    output = applied(given, a=[1], tags=pa.array([["x", "y"]]), z=[2.5])
    assert output.batches[MAIN].schema.names == [*names, ORDINAL]
    columns = {"a": "int64", "tags": "list<string>", "z": "float64"}
    assert list(schema(SPEC, given, columns) or {}) == names


@pytest.mark.parametrize(
    ("of", "items"),
    [
        (pa.list_(pa.int32()), [1, 2]),
        (pa.large_list(pa.int32()), [1, 2]),
        (pa.list_(pa.int32(), 2), [1, 2]),
        (pa.list_(pa.struct([("a", pa.int64())])), [{"a": 1}, {"a": 2}]),
        (pa.list_(pa.list_(pa.string())), [["x"], []]),
    ],
)
def test_every_kind_of_list_is_flattened_also_in_a_slice(of: pa.DataType, items: list[Any]) -> None:
    """Arrow has three lists, and a slice shares the items of the rows it leaves out."""
    lists = pa.array([items[::-1], None, items, items], of).slice(1, 2)
    output = applied({"column": "l"}, l=lists)
    assert [(row["l"], row[ORDINAL]) for row in rows(output)] == [(items[0], 1), (items[1], 1)]


def test_a_record_with_too_many_items_is_refused_and_its_neighbours_pass() -> None:
    """One record must not fill the memory of all pipelines."""
    output = applied({"column": "l", "itemsMax": 2}, l=pa.array([[1], [1, 2, 3], [], [4, 5]]))
    assert [row["l"] for row in rows(output)] == [1, 4, 5]
    assert (output.filtered, output.produced) == (1, 1)
    assert output.rejected is not None
    (bad,) = output.rejected.to_pylist()
    assert (bad["l"], bad[ORDINAL], bad[ERROR]) == ([1, 2, 3], 1, "l has 3 items; itemsMax is 2")


def test_a_column_that_is_always_null_has_no_items() -> None:
    """As a reader of JSON gives a field that no record of a batch has."""
    for extra in ({}, {"delimiter": ","}):
        output = applied({"column": "l", **extra}, l=pa.nulls(2))
        assert (rows(output), output.filtered) == ([], 2)


@pytest.mark.parametrize(
    ("options", "field", "said"),
    [
        ({"column": "nope"}, "column", "unknown column 'nope'; there are id, tags, text"),
        ({"column": "__ordinal"}, "column", "a name of the engine's own"),
        ({"column": "text"}, "column", "'text' is of type string; give the delimiter of its items"),
        ({"column": "id"}, "column", "'id' is of type int64; name a list"),
        ({"column": "id", "delimiter": ","}, "delimiter", "'id' is of type int64; name a text"),
        ({"column": "tags", "delimiter": ","}, "delimiter", "leave it out for a list"),
        ({"column": "tags", "into": "id"}, "into", "there is a column 'id' already"),
        ({"column": "tags", "into": "__error"}, "into", "a name of the engine's own"),
        ({"column": "tags", "keep": ["nope"]}, "keep", "unknown column 'nope'"),
        ({"column": "tags", "keep": ["tags"]}, "keep", "goes out as its items"),
        ({"column": "tags", "keep": ["id"], "keepParent": False}, "keep", "keepParent is false"),
    ],
)
def test_what_does_not_go_with_the_columns_is_reported_at_creation_and_at_the_first_batch(
    options: Mapping[str, Any], field: str, said: str
) -> None:
    """By the path of the option, and with what would be right."""
    ((path, message),) = problems(SPEC, options, COLUMNS)
    assert path == f"options.{field}"
    assert said in message
    with pytest.raises(Rejected, match=field) as raised:
        applied(options, id=[1], tags=pa.array([["a"]]), text=["x"])
    assert said in str(raised.value)


def test_the_types_that_go_out_are_known_when_the_pipeline_is_created() -> None:
    """The next step is checked against the items' type."""
    assert schema(SPEC, {"column": "tags", "into": "tag"}, COLUMNS) == {
        "id": "int64",
        "tag": "string",
        "text": "string",
    }
    split = schema(SPEC, {"column": "text", "delimiter": ";", "keepParent": False}, COLUMNS)
    assert split == {"text": "string"}
