"""Strict parsing, record by record where something is wrong."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.connect.types import parse_type, to_arrow
from dataflow.connectors.file.csv_parse import CsvParser
from dataflow.connectors.file.source_options import FileSourceOptions
from dataflow.connectors.file.text_parse import TextParser
from dataflow.connectors.formats.json_parse import JsonParser
from dataflow.connectors.formats.parse import Parsed, Parser, parse


def schema(**types: str) -> pa.Schema:
    """Return columns of the types that people would write."""
    return pa.schema([(name, to_arrow(parse_type(of))) for name, of in types.items()])


def csv(columns: pa.Schema, names: list[str] | None = None, **options: object) -> CsvParser:
    """Return a csv parser of columns in the order of the file."""
    return CsvParser(names or columns.names, columns, FileSourceOptions.model_validate(options))


def bad(parsed: Parsed) -> list[tuple[int, str]]:
    """Return which records were refused, and what they were."""
    return [(one.index, one.record) for one in parsed.bad]


TWO = schema(a="int", b="string")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (b"x,1", "column 'a': expected int64: invalid value 'x'"),
        (b"1.0,1", "column 'a': expected int64: invalid value '1.0'"),
        (b"99999999999999999999,1", "column 'a': expected int64"),
        (b"1", "has 1 cells, where 2 columns are expected"),
        (b"1,2,3", "has 3 cells, where 2 columns are expected"),
        (b"1,\xff", "invalid UTF-8"),
        (b"\xff", "invalid UTF-8"),
    ],
)
def test_a_bad_csv_record_is_named_and_costs_no_other(record: bytes, reason: str) -> None:
    """A wrong cell must never become null, and its neighbours must not go with it."""
    parsed = parse(csv(TWO), b"1,x\n2,y\n" + record + b"\n")
    assert parsed.batch.to_pylist() == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    assert [(one.index, one.error[: len(reason)]) for one in parsed.bad] == [(2, reason)]


@pytest.mark.parametrize("record", [b'3,"x', b'3,"', b'"3,x\n4,y', b'3,"x\n', b'3,"x""'])
def test_a_quote_that_the_file_leaves_open_is_a_bad_record(record: bytes) -> None:
    """A file cut short within a quoted cell would pass for whole."""
    parsed = parse(csv(TWO), b"1,x\n2,y\n" + record, last=True)
    assert parsed.batch.column("a").to_pylist() == [1, 2]
    assert bad(parsed) == [(2, record.decode().rstrip("\n"))]
    whole = parse(csv(TWO), b'1,x\n2,"y"', last=True)
    assert (whole.batch.num_rows, bad(whole)) == (2, [])


def test_bad_csv_records_keep_their_text_and_number() -> None:
    """A dead letter is found, mended and replayed by these; blank lines are no records."""
    parsed = parse(csv(TWO), b"1,a\n\nx,b\n3\n\n4,d\ny,e\n6,f\n")
    assert bad(parsed) == [(1, "x,b"), (2, "3"), (4, "y,e")]
    assert parsed.batch.column("a").to_pylist() == [1, 4, 6]


@pytest.mark.parametrize(
    ("of", "good", "value", "wrong"),
    [
        ("bool", b"true", True, b"yes"),
        ("float64", b"1e3", 1000.0, b"1,5"),
        ("int8", b"-128", -128, b"128"),
        ("uint64", b"18446744073709551615", 18446744073709551615, b"-1"),
        ("date", b"2024-02-29", "2024-02-29", b"2023-02-29"),
        ("timestamp", b"2024-01-02T03:04:05", "2024-01-02 03:04:05", b"2024-01-02T03:04:05Z"),
        ("timestamptz", b"2024-01-02T03:04:05+01:00", None, b"2024-01-02T03:04:05"),
        ("decimal(5, 2)", b"123.45", "123.45", b"123.456"),
        ("decimal(5, 2)", b"999.99", "999.99", b"1000"),
        ("bytes", b"ab", b"ab", None),
        ("time", b"01:02:03", "01:02:03", b"25:00:00"),
    ],
)
def test_every_type_takes_its_values_and_refuses_others(
    of: str, good: bytes, value: object, wrong: bytes | None
) -> None:
    """Strictness is the parser's in every type, or a cell is lost in silence."""
    rows = b"0," + good + b"\n" + (b"1," + wrong + b"\n" if wrong else b"")
    parsed = parse(csv(schema(n="int", v=of), delimiter=","), rows)
    found = parsed.batch.column("v").to_pylist()
    assert len(found) == 1
    assert value is None or str(found[0]) == str(value)
    assert [one.index for one in parsed.bad] == ([1] if wrong else [])


def test_only_declared_markers_are_null_and_only_unquoted() -> None:
    """An empty text and a missing one are different things to a database."""
    rows = b'NA,NA\n1,"NA"\n2,\n3,""\n'
    marked = parse(csv(TWO, nullValues=["NA"]), rows).batch.to_pylist()
    assert [row["b"] for row in marked] == [None, "NA", "", ""]
    assert marked[0]["a"] is None
    default = parse(csv(TWO), b'1,\n2,""\n').batch.to_pylist()
    assert [row["b"] for row in default] == [None, ""]
    assert bad(parse(csv(TWO, nullValues=["NA"]), b",x\n")) == [(0, ",x")]


def test_columns_are_taken_by_name_in_any_order() -> None:
    """Later files may have their columns in another order."""
    parsed = parse(csv(TWO, ["b", "skipped", "a"]), b"x,9,1\nx,9,z\n")
    assert parsed.batch.to_pylist() == [{"a": 1, "b": "x"}]
    assert parsed.bad[0].error.startswith("column 'a'")


def test_delimiter_and_quote_are_as_given() -> None:
    """Tabs and single quotes are as common as commas; without a quote, quotes mean nothing."""
    single = parse(csv(TWO, delimiter="\t", quote="'"), b"1\t'x\ty'\n")
    assert single.batch.to_pylist() == [{"a": 1, "b": "x\ty"}]
    none = parse(csv(TWO, quote=""), b'1,"x\n2,y"\n')
    assert none.batch.column("b").to_pylist() == ['"x', 'y"']


@given(st.lists(st.sampled_from([b"1,a", b"x,b", b"3", b'4,"d\nd"', b"5,e,f", b""]), max_size=40))
def test_the_rest_of_a_block_survives_any_bad_records(records: list[bytes]) -> None:
    """What halving finds must be what each record alone would give."""
    parser = csv(TWO)
    parsed = parse(parser, b"".join(record + b"\n" for record in records))
    alone = [parse(parser, record + b"\n") for record in records]
    assert parsed.batch.to_pylist() == [row for one in alone for row in one.batch.to_pylist()]
    numbered = [one for one in alone if one.records]
    assert [b.index for b in parsed.bad] == [n for n, one in enumerate(numbered) if one.bad]


JSON = schema(a="int", s="string", t="timestamp", d="date", m="decimal(5, 2)", l="list<int>")


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ('{"a":"1"}', "field 'a': expected int64, found string"),
        ('{"a":1.5}', "field 'a': expected int64: 1.5"),
        ('{"s":5}', "field 's': expected string, found number"),
        ('{"s":"\\ud800"}', "not a JSON object: The surrogate pair"),
        ('{"t":"soon"}', "field 't': expected timestamp"),
        ('{"t":"2024-01-02T03:04:05Z"}', "field 't': expected timestamp"),
        ('{"d":5}', "field 'd': expected date, found number"),
        ('{"m":1.555}', "field 'm': expected decimal(5, 2): 1.555"),
        ('{"m":1000}', "column 'm': expected decimal(5, 2): "),
        ('{"l":["x"]}', "field 'l/[]': expected list<int64>, found string"),
        ('{"z":1}', "has other fields than were declared or inferred: 'z'"),
        ('{"a":1,"a":2}', "not a JSON object: Column(/a) was specified twice"),
        ('{"a":1}{"a":2}', "more than one JSON object on a line"),
        ('{"a":1', "not a JSON object on one line"),
        ("null", "not a JSON object on one line"),
        ("[1]", "not a JSON object on one line"),
        ("5 x", "not a JSON object on one line"),
        ('{"a":}', "not a JSON object"),
    ],
)
@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
def test_a_bad_json_record_is_named_and_costs_no_other(
    record: str, reason: str, *, first: bool
) -> None:
    """Arrow's parser crashes on a first null and joins or splits lines; none of it may show."""
    good = '{"a":7,"s":"x"}'
    text = f"{record}\n{good}\n" if first else f"{good}\n\n{record}\n"
    parsed = parse(JsonParser(JSON, closed=True), text.encode())
    assert parsed.batch.column("a").to_pylist() == [7]
    assert [(one.index, one.record) for one in parsed.bad] == [(0 if first else 1, record)]
    assert parsed.bad[0].error.startswith(reason)


def test_an_object_over_two_lines_is_two_bad_records() -> None:
    """Beside a line with two objects the count of rows would be right, and the rows wrong."""
    nested = schema(a="struct<a: int64>")
    data = b'{"a":\n{"a":1}}{"a":null}\n'
    parsed = parse(JsonParser(nested, closed=True), data)
    assert (parsed.batch.num_rows, [one.index for one in parsed.bad]) == (0, [0, 1])


def test_json_is_read_with_any_white_space_and_missing_fields() -> None:
    """Files from Windows and from editors hold CR, indentation and blank lines."""
    data = b'\n  {"a": 1} \r\n\r\n\t{ "s": "x" }\r\n{"m":"1.5","l":[1,null]}'
    rows = parse(JsonParser(JSON, closed=True), data).batch.to_pylist()
    assert [row["a"] for row in rows] == [1, None, None]
    assert (rows[1]["s"], str(rows[2]["m"]), rows[2]["l"]) == ("x", "1.50", [1, None])


def test_other_json_fields_are_dropped_where_asked() -> None:
    """A projection of wide records need not name what it leaves out."""
    parsed = parse(JsonParser(schema(a="int"), closed=False), b'{"a":1,"z":{"y":2}}\n')
    assert (parsed.batch.to_pylist(), bad(parsed)) == ([{"a": 1}], [])


def test_invalid_utf8_in_json_is_refused() -> None:
    """Arrow's JSON parser would pass the bytes on as a string."""
    parsed = parse(JsonParser(schema(s="string"), closed=True), b'{"s":"a"}\n{"s":"\xff"}\n')
    assert (parsed.batch.num_rows, bad(parsed)) == (1, [(1, '{"s":"\\xff"}')])


@given(st.lists(st.sampled_from(['{"a":1}', '{"a":"x"}', "null", '{"b":1}', '{"a":2}{}', " "])))
def test_the_rest_of_a_json_block_survives_any_bad_records(records: list[str]) -> None:
    """As for csv; and no count of good and bad may hide a record."""
    parser = JsonParser(schema(a="int"), closed=True)
    parsed = parse(parser, "".join(f"{record}\n" for record in records).encode())
    kept = [json.loads(r)["a"] for r in records if r == '{"a":1}']
    assert parsed.batch.column("a").to_pylist() == kept
    assert parsed.records == len([r for r in records if r.strip()])


def test_every_line_of_text_is_a_record() -> None:
    """Also a blank one; CR LF ends a line, a CR elsewhere is part of it."""
    parsed = parse(TextParser("line"), b"a\r\n\n\xff\nc\rd\n")
    assert parsed.batch.column("line").to_pylist() == ["a", "", "c\rd"]
    assert bad(parsed) == [(2, "\\xff")]


@pytest.mark.parametrize(
    "parser",
    [csv(TWO), JsonParser(TWO, closed=True), TextParser("line")],
    ids=["csv", "json", "text"],
)
def test_nothing_has_no_rows(parser: Parser) -> None:
    """An empty block would otherwise be an error of Arrow's."""
    assert parse(parser, b"").records == (1 if isinstance(parser, TextParser) else 0)
    assert isinstance(parser, TextParser) or parse(parser, b"\n\n").records == 0
