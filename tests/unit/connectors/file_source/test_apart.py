"""Damaged blocks are read by a quicker way, and it must come to the same."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.connect.types import parse_type, to_arrow
from dataflow.connectors.file.csv_apart import among_all, refused_cells
from dataflow.connectors.file.csv_parse import CsvParser
from dataflow.connectors.file.source_options import FileSourceOptions
from dataflow.connectors.formats.parse import Refused, parse

TYPES = [
    "int64", "int8", "uint16", "float64", "float32", "bool", "date",
    "timestamp", "timestamp(ns)", "timestamptz", "decimal(5, 2)",
]  # fmt: skip
ODD = (
    "1| 1 |+1|0x1F|1.0|1e3|nan|inf|-0|00|1_0|129|1E2|12.345|99999.99|true|TRUE|True|tRuE|yes"
    "|2024-02-29| 2024-02-29 |2023-02-29|20240229|2024-01-02T03:04|2024-01-02 03:04:05.5"
    "|2024-01-02T03:04:05Z|2024-01-02T03:04:05+0100|2024-01-02T03:04:05.123456789|01:02|25:00:00"
)
TEXTS = st.one_of(
    st.text("0123456789+-.:TZeE x/", min_size=1, max_size=12), st.sampled_from(ODD.split("|"))
)


@pytest.mark.parametrize("of", TYPES)
@given(text=TEXTS)
@settings(max_examples=150)
def test_a_cast_refuses_nothing_that_the_parser_takes(of: str, text: str) -> None:
    """Else the fate of a good record would depend on a bad one beside it."""
    arrow = to_arrow(parse_type(of))
    if refused_cells(pa.array([text]), arrow):
        parser = CsvParser(["a"], pa.schema([("a", arrow)]), FileSourceOptions(null_values=()))
        with pytest.raises(Refused):
            parser.strictly(f"{text}\n".encode())


RECORDS = st.sampled_from(
    ["1,a,1.5", "x,b,2", "3", '4,"d\nd",5', "5,e,f", "", '6,"g""",7', '7,5",8', '"9",,', ",,"]
)


@given(st.lists(RECORDS, max_size=60))
@settings(max_examples=150)
def test_the_quicker_way_finds_what_each_record_alone_would(records: list[str]) -> None:
    """The same rows, the same numbers, the same text, whatever lies beside a record."""
    types = {"c": "float64", "a": "int64", "b": "string"}
    schema = pa.schema([(name, to_arrow(parse_type(of))) for name, of in types.items()])
    parser = CsvParser(["a", "b", "c"], schema, FileSourceOptions())
    quick = parser.apart("".join(f"{record}\n" for record in records).encode())
    assert quick is not None
    alone = [one for record in records if (one := parse(parser, f"{record}\n".encode())).records]
    assert quick.batch.to_pylist() == [row for one in alone for row in one.batch.to_pylist()]
    found = [(bad.index, bad.record.rstrip()) for bad in quick.bad]
    assert found == [(n, one.bad[0].record.rstrip()) for n, one in enumerate(alone) if one.bad]


def test_times_are_told_apart_by_halving() -> None:
    """Arrow casts no text to a time, so the quicker way is none for them."""
    parser = CsvParser(["a"], pa.schema([("a", pa.time64("us"))]), FileSourceOptions())
    assert parser.apart(b"01:02:03\nx\n") is None
    parsed = parse(parser, b"01:02:03\n" * 200 + b"25:00:00\n" + b"01:02:03\n" * 200)
    assert [bad.index for bad in parsed.bad] == [200]


def test_numbers_are_counted_past_those_left_out() -> None:
    """Records that were set aside stand before, between and behind the others."""
    assert among_all([0, 1, 2], [0, 1, 4]) == [2, 3, 5]
    assert among_all([0, 2], []) == [0, 2]
