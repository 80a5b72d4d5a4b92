"""Where records end, decided as Arrow's parser decides it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataflow.connectors.file.csv_parse import CsvParser
from dataflow.connectors.file.scan import Block, Blocks, CsvLines
from dataflow.connectors.file.source_options import FileSourceOptions
from dataflow.connectors.file.source_stream import Stream
from dataflow.connectors.formats.lines import Lines
from dataflow.connectors.formats.parse import parse

QUOTED = CsvLines(",", '"')
BARE = CsvLines(",", "")


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
        (b'"a\rb",c\r"x', b'"a\rb",c\r'),
        (b"a\rb\r", b"a\r"),
        (b"a\r\nb\r", b"a\r\n"),
    ],
)
def test_a_record_ends_at_a_line_break_outside_of_quotes(data: bytes, whole: bytes) -> None:
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
    assert QUOTED.first_end(b"a\r\nb", 1) == 3
    assert QUOTED.first_end(b"a\rb", 2) == 3
    assert Lines().first_end(b"a\nb\n", 2) == 4
    assert Lines().first_end(b"ab") == 2


@given(st.text('a",\n\r', max_size=30), st.integers(0, 30))
def test_the_first_end_is_that_of_the_first_record_beyond(text: str, start: int) -> None:
    """It is found in one pass, and must be what a walk over all records finds."""
    data = text.encode()
    for lines in (QUOTED, BARE):
        whole = data[: lines.last_end(data)]
        ends = [end for end in _walked(lines, whole) if end > start]
        assert not ends or lines.first_end(data, start) == ends[0]


def _walked(lines: CsvLines, data: bytes) -> Iterator[int]:
    end = 0
    while end < len(data):
        end += lines.first_end(data[end:])
        yield end


@given(st.text('a",\n\r', max_size=30))
def test_records_are_those_of_the_parser(text: str) -> None:
    """A record that the parser sees as two would take a good row with it when it is refused."""
    data = text.encode()
    options = FileSourceOptions(columns=("x",), quote="")
    parser = CsvParser(["x"], pa.schema([("x", pa.string())]), options)
    assert len(BARE.records(data)) == parse(parser, data).records


SHORT = b"12,abcdefgh\n"


def test_a_quote_left_open_is_looked_through_once() -> None:
    """Looking again at every line feed behind it took minutes, and no other thread ran."""
    data = b'1,"x\n' + SHORT * (1 << 20)
    assert QUOTED.first_end(data) == len(data)
    assert QUOTED.first_end(data, len(data) // 2) == len(data)
    assert QUOTED.first_end(data + b'"\n1,2\n', 1 << 20) == len(data) + 2


def test_a_long_record_among_bad_ones_is_told_apart_quickly() -> None:
    """Its block is halved again and again, and most middles lie within its quotes."""
    types: list[tuple[str, pa.DataType]] = [("a", pa.int64()), ("b", pa.string())]
    parser = CsvParser(["a", "b"], pa.schema(types), FileSourceOptions())
    found = parse(parser, b'1,x\n\xff,"z\n' + SHORT * (1 << 20) + b'"\n3,y\nworse,y\n')
    assert found.batch.to_pylist() == [{"a": 1, "b": "x"}, {"a": 3, "b": "y"}]
    assert [bad.index for bad in found.bad] == [1, 3]


@dataclass
class Memory:
    """A stream that counts what is looked through."""

    data: bytes
    offset: int = 0

    def read(self, size: int) -> bytes:
        part = self.data[self.offset : self.offset + size]
        self.offset += len(part)
        return part

    def stored(self) -> int:
        return self.offset


@dataclass
class Counting(Lines):
    """Lines, and how many bytes were searched for their ends."""

    searched: int = 0

    def last_end(self, data: bytes) -> int:
        self.searched += len(data)
        return super().last_end(data)


def blocks(data: bytes, lines: Lines, chunk: int, most: int) -> Iterator[Block]:
    """Cut data as a file is cut."""
    return iter(Blocks(cast("Stream", Memory(data)), lines, True, chunk, most))


@pytest.mark.parametrize("chunk", [1, 2, 3, 4, 5, 6, 7, 12, 13])
def test_the_end_is_known_wherever_the_reads_end(chunk: int) -> None:
    """What was read to its end may be deleted, and nobody looks at the file any more by then."""
    *others, last = blocks(b"aa\nbb\ncc\ndd\n", Lines(), chunk, 100)
    assert last.at_end
    assert not any(one.at_end for one in others)


def test_a_long_record_is_searched_twice_over_at_most() -> None:
    """Its end is sought anew with each read, and reads of one size would be very many."""
    lines = Counting()
    (found,) = blocks(b"x" * (1 << 20) + b"\n", lines, 1 << 10, 16 << 20)
    assert len(found.data) == (1 << 20) + 1
    assert lines.searched < 4 << 20


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
@pytest.mark.parametrize("before", [0, 4])
def test_the_limit_of_a_record_does_not_depend_on_the_reads(chunk: int, before: int) -> None:
    """What is refused must be the same each time, whatever was read together with it."""
    data = b"y\n" * before + b"x" * 10 + b"\n" + b"x" * 11 + b"\n" + b"z\n"
    found = list(blocks(data, Lines(), chunk, 10))
    assert b"".join(one.data for one in found if not one.too_long) == data.replace(
        b"x" * 11 + b"\n", b""
    )
    assert [one.start for one in found if one.too_long] == [before * 2 + 11]


PIECES = ['"', ",", "\n", "\r", "\r\n", "1", "1,x\n", '1,"x"\r', '1,"y\r\nz"\n', '1,"y""']


@given(
    st.lists(st.sampled_from(PIECES), max_size=14), st.integers(1, 9), st.sampled_from(['"', ""])
)
@example(["y,\r", "z,4"], 9, '"')  # its middle lies behind a carriage return
def test_good_and_bad_records_do_not_depend_on_the_blocks(
    pieces: list[str], chunk: int, quote: str
) -> None:
    """A restart cuts elsewhere, and counts records that it must know again."""
    types: list[tuple[str, pa.DataType]] = [("a", pa.int64()), ("b", pa.string())]
    options = FileSourceOptions(quote=quote)
    parser = CsvParser(["a", "b"], pa.schema(types), options)

    def read(size: int) -> list[object]:
        found: list[object] = []
        before = 0
        for block in blocks("".join(pieces).encode(), parser.lines, size, 1 << 10):
            parsed = parse(parser, block.data, last=block.last)
            found += parsed.batch.to_pylist()
            found += [(bad.index + before, bad.record) for bad in parsed.bad]
            before += parsed.records
        return sorted(found, key=str)

    assert read(chunk) == read(1 << 9)
