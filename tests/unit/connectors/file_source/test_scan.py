"""Where records end, decided as Arrow's parser decides it."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflow.connectors.file.csv_parse import CsvParser
from dataflow.connectors.file.scan import Lines, QuotedLines
from dataflow.connectors.file.source_options import FileSourceOptions
from dataflow.connectors.file.source_parse import parse

QUOTED = QuotedLines(",", '"')


@pytest.mark.parametrize(
    ("data", "whole"),
    [
        (b"a,b\nc", b"a,b\n"),
        (b"a", b""),
        (b"", b""),
        (b'"a\nb",c\n"x', b'"a\nb",c\n'),
        (b'a,"b\n"\n', b'a,"b\n"\n'),
        (b'a\n"b', b"a\n"),
        (b'a,"b""\n', b""),
        (b'"a""\n"\n', b'"a""\n"\n'),
        (b'"a"b"c\n', b'"a"b"c\n'),
        (b'a,"b","c"\nx,"y","z', b'a,"b","c"\n'),
    ],
)
def test_a_record_ends_at_a_line_feed_outside_of_quotes(data: bytes, whole: bytes) -> None:
    """A chunk cut within a quoted cell would be two malformed records."""
    assert data[: QUOTED.last_end(data)] == whole


@pytest.mark.parametrize("data", [b'5" pipe,x\n', b'a,5"\nb,6\n', b' "a",b\n'])
def test_a_quote_within_a_bare_cell_opens_nothing(data: bytes) -> None:
    """Inches are written so; counting quotes would take the rest of the file for one cell."""
    assert QUOTED.last_end(data) == len(data)


@given(st.text('a",\n\r', max_size=30))
def test_cuts_agree_with_the_parser(text: str) -> None:
    """The parser decides what a record is: parts must have the records of the whole, no others."""
    data = text.encode()
    end = QUOTED.last_end(data)
    parser = CsvParser(
        ["x", "y"], pa.schema([("x", pa.string()), ("y", pa.string())]), FileSourceOptions()
    )
    whole, left, right = (parse(parser, part) for part in (data, data[:end], data[end:]))
    assert left.batch.to_pylist() + right.batch.to_pylist() == whole.batch.to_pylist()
    found = [bad.record.rstrip("\r\n") for part in (left, right) for bad in part.bad]
    assert found == [bad.record.rstrip("\r\n") for bad in whole.bad]


def test_the_first_end_lies_beyond_the_start() -> None:
    """Halving a block needs a cut behind its middle where there is none before."""
    assert QUOTED.first_end(b'a,"\n"\nb\n', 2) == 6
    assert Lines().first_end(b"a\nb\n", 2) == 4
    assert Lines().first_end(b"ab") == 2
