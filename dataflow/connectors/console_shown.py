"""Rows as people read them: json in a line or indented, csv, or a table of aligned columns."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence
from typing import Literal

import polars as pl
import pyarrow as pa
from polars import selectors

from dataflow.connectors.formats.encode import encoder_of, plain
from dataflow.connectors.formats.shape import Plain
from dataflow.connectors.formats.values import csv_values, frame_of

CELLS_MAX = 40
"""Of a value in a table: two such columns fill a terminal of 80."""

_PIECES_MAX = 4 * CELLS_MAX
"""Characters looked at for one value: any number of accents takes no cell of its own."""

Shown = Callable[[pa.RecordBatch], bytes]


def shown_as(form: Literal["json", "csv", "pretty", "table"]) -> Shown:
    """Return what makes text of one batch after the other.

    It raises ``Rejected`` where the form cannot hold a column, which is named.
    """
    match form:
        case "json" | "csv":
            return _Lines(form)
        case "pretty":
            return _pretty
        case "table":
            return _Table()


class _Lines:
    """A line a row; of csv, the names above, again when they change."""

    def __init__(self, form: Literal["json", "csv"]) -> None:
        self._encoder = encoder_of(form, Plain())
        self._names: list[str] = []

    def __call__(self, rows: pa.RecordBatch) -> bytes:
        rows = plain(rows)
        head = b""
        if rows.schema.names != self._names:
            head = self._encoder.head(rows.schema)
            self._names = rows.schema.names
        return head + self._encoder.rows(rows)


def _pretty(rows: pa.RecordBatch) -> bytes:
    lines = bytes(encoder_of("json", Plain()).rows(plain(rows))).splitlines()
    objects = (json.dumps(json.loads(line), indent=2, ensure_ascii=False) for line in lines)
    return "".join(f"{text}\n" for text in objects).encode()


class _Table:
    """Columns as wide as their widest value so far; the names again when that or they change."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._widths: list[int] = []

    def __call__(self, rows: pa.RecordBatch) -> bytes:
        frame = frame_of(plain(rows), "table")
        to_right = [dtype.is_numeric() for dtype in frame.dtypes]
        columns = [[fitted(value) for value in column] for column in _texts(frame)]
        names = [fitted(name) for name in frame.columns]
        head = self._fit(frame.columns, names, columns)
        lines = [self._line(row, to_right) for row in zip(*columns, strict=True)]
        return "".join(f"{line}\n" for line in (*head, *lines)).encode()

    def _fit(
        self, columns: list[str], names: list[str], values: Sequence[Sequence[str]]
    ) -> list[str]:
        """Widen what is too narrow, and return what stands above the rows, if anything new."""
        known, before = self._names == columns, self._widths
        wanted = [max(map(cells, [name, *of])) for name, of in zip(names, values, strict=True)]
        self._names = columns
        self._widths = [*map(max, wanted, before)] if known else wanted
        if known and self._widths == before:
            return []
        rule = "-+-".join("-" * width for width in self._widths)
        return [*([""] if before else []), self._line(names, [False] * len(names)), rule]

    def _line(self, values: Sequence[str], to_right: Sequence[bool]) -> str:
        padded = (
            f"{' ' * (width - cells(value))}{value}"
            if right
            else f"{value}{' ' * (width - cells(value))}"
            for value, width, right in zip(values, self._widths, to_right, strict=True)
        )
        return " | ".join(padded).rstrip()


def _texts(frame: pl.DataFrame) -> list[list[str | None]]:
    values = csv_values(frame, native_zone=False)
    values = values.with_columns(selectors.datetime().dt.to_string("iso:strict"))
    return [column.cast(pl.String).to_list() for column in values]


def fitted(value: str | None) -> str:
    """Return a value as a table shows it: cut with an ellipsis, and nothing a terminal obeys."""
    if value is None:
        return "null"
    pieces: list[str] = []
    width = 0
    for character in value:
        pieces.append(character if character.isprintable() else _escaped(character))
        width += cells(pieces[-1])
        if width > CELLS_MAX or len(pieces) > _PIECES_MAX:
            while width >= CELLS_MAX:
                width -= cells(pieces.pop())
            return f"{''.join(pieces)}…"
    return "".join(pieces)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def cells(text: str) -> int:
    """Return how many places of a terminal a text takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in {"W", "F"} for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)
