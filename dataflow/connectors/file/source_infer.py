"""Types of csv columns that nobody declared, from the first records of the first file that has any.

int64, float64, bool, date, timestamp and string; only nulls are a string. What is inferred is
pinned for the lineage, so the records that happen to come first decide, and no chunk's end does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import csv

from dataflow.connectors.file.csv_parse import lines_of, parsing
from dataflow.connectors.file.csv_parse import read as read_csv
from dataflow.connectors.file.scan import Blocks
from dataflow.connectors.file.source_options import FileSourceOptions
from dataflow.connectors.formats.json_infer import casts

_BYTES_MAX = 16 << 20
"""Of records that inference looks at; one record may be as long."""


def sample(blocks: Blocks, rows: int) -> bytes:
    """Return the first records, as many lines or 16 MiB."""
    data = b""
    for block in blocks:
        data += b"" if block.too_long else block.data
        if data.count(b"\n") >= rows or len(data) > _BYTES_MAX:
            break
    end = 0
    for _ in range(rows):
        end = data.find(b"\n", end) + 1
        if not end:
            return data
    return data[: blocks.lines.first_end(data, end - 1)]


def csv_types(
    data: bytes, names: Sequence[str], wanted: Sequence[str], options: FileSourceOptions
) -> Mapping[str, pa.DataType]:
    """Return the types of the wanted columns of csv records."""
    data = data.decode("utf-8", "replace").encode()
    if not wanted or not data.strip():
        return {name: pa.string() for name in wanted}
    table = read_csv(
        data,
        names,
        parsing(options, lambda _: "skip"),
        csv.ConvertOptions(
            include_columns=list(wanted),
            null_values=list(options.null_values),
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    return {name: _csv_type(table.column(name)) for name in wanted}


def _csv_type(column: pa.ChunkedArray[Any]) -> pa.DataType:
    of = column.type
    if pa.types.is_timestamp(of):
        coarse = pa.timestamp("us", of.tz)
        return coarse if casts(column, coarse) else pa.timestamp("ns", of.tz)
    known = pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_boolean(of)
    return of if known or pa.types.is_date32(of) else pa.string()


def csv_width(data: bytes, options: FileSourceOptions) -> int:
    """Return how many cells the first csv record has."""
    data = data.lstrip(b"\r\n")
    if not data:
        return 0
    record = data[: lines_of(options).first_end(data)].decode("utf-8", "replace").encode()
    return read_csv(record, None, parsing(options)).num_columns
