"""Telling the bad records of a csv block from the good ones, where there may be many.

Cells are read as text and cast column by column, which names the rows that refuse; what is left
is parsed as ever. Only a cast that is stricter than the parser could refuse a good record: a
property test holds that none is. One that is laxer only costs time, for the block is then halved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect.batches import type_name


def refused_cells(cells: pa.Array[Any], of: pa.DataType) -> list[int]:
    """Return the rows whose text is no value of the type; the parser trims, casts do not."""
    return _halved(pc.ascii_trim(cells, " \t"), of, 0)


def reasons(texts: pa.RecordBatch, schema: pa.Schema) -> Mapping[int, str]:
    """Return why rows cannot be read, by row; the first column that refuses speaks."""
    found: dict[int, str] = {}
    for field in schema:
        cells = texts.column(field.name)
        if cells.type == field.type or pa.types.is_binary(field.type):
            continue
        expected = f"column {field.name!r}: expected {type_name(field.type)}: invalid value"
        for row in refused_cells(cells, field.type):
            found.setdefault(row, f"{expected} '{cells[row].as_py()}'")
    return found


def among_all(numbers: Iterable[int], left_out: Sequence[int]) -> list[int]:
    """Return the numbers of records among all, given those among the ones not left out.

    Both are in order.
    """
    found = []
    passed = 0
    for number in numbers:
        while passed < len(left_out) and left_out[passed] <= number + passed:
            passed += 1
        found.append(number + passed)
    return found


def without(data: bytes, spans: Sequence[tuple[int, int]], left_out: Sequence[int]) -> bytes:
    """Return data without some of its records; records lie at ``spans``."""
    parts = []
    start = 0
    for record in left_out:
        begin, end = spans[record]
        parts.append(data[start:begin])
        start = end
    return b"".join([*parts, data[start:]])


def _halved(cells: pa.Array[Any], of: pa.DataType, first: int) -> list[int]:
    try:
        pc.cast(cells, of)
    except pa.ArrowInvalid:
        middle = len(cells) // 2
        if not middle:
            return [first]
        left = _halved(cells.slice(0, middle), of, first)
        return left + _halved(cells.slice(middle), of, first + middle)
    return []
