"""Rows as bytes: csv, json lines, text, Arrow. Columns are formatted whole, never row by row.

Measured on 100,000-row batches, two cores, conversion from Arrow included (million rows/s):
csv polars 11.8, pyarrow 4.6; with a zoned timestamp polars 4.2, pyarrow 0.7; json polars 8.5 and
pyarrow has none. So polars writes, and what it cannot write is made text first or refused.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect import Rejected
from dataflow.connectors.formats.handful import HANDFUL_ROWS, Handful
from dataflow.connectors.formats.shape import Compression, Format, Shape
from dataflow.connectors.formats.values import (
    csv_values,
    frame_of,
    json_values,
    needs_text,
    refused,
    types_within,
    zone_format,
)

GZIP_LEVEL = 1
"""Measured on csv: 36 MB/s and 2.27 to 1; gzip's default, 6, makes 11 MB/s and 2.47 to 1."""

SLICE_ROWS = 16_384
"""Polars formats slices of this size on all cores. At its default of 1,024 a row costs
0.38 us of CPU, at this size 0.26."""

FEW_ROWS = 1_000
"""Up to so many rows, polars' expression makes JSON of them sooner than its writer of files does:
a row in 0.06 ms instead of 0.6 ms, a thousand in 0.5 ms instead of 1 ms (1.36, one core)."""

_QUOTES: Mapping[str, pl._typing.CsvQuoteStyle] = {
    "necessary": "necessary",
    "always": "always",
    "nonNumeric": "non_numeric",
}


class Encoder(Protocol):
    """Turns rows into bytes that can be appended to a file."""

    fixed_columns: bool
    """Whether all rows of a file must have the same columns."""
    dialect: str
    """How options say that values are written; all rows of a file must be written alike."""

    def head(self, schema: pa.Schema) -> bytes:
        """Return what a file begins with."""
        ...

    def rows(self, batch: pa.RecordBatch) -> memoryview:
        """Return the rows, complete in themselves.

        Raises:
            Rejected: the format cannot hold a column, which is named.
        """
        ...


def encoder_of(file_format: Format, options: Shape) -> Encoder:
    """Return the encoder of a format."""
    match file_format:
        case "csv":
            return Csv(options)
        case "json":
            return Json()
        case "text":
            return Text(options.column)
        case "arrow" | "parquet":
            return Arrow(file_format)


def compressor_of(compression: Compression, file_format: Format) -> Callable[[bytes], bytes] | None:
    """Return what makes one gzip member or zstd frame; None where bytes stay as they are."""
    if file_format in {"arrow", "parquet"} or compression in {"none", "snappy"}:
        return None
    if compression == "gzip":
        return lambda data: zlib.compress(data, GZIP_LEVEL, 31)  # 31: with gzip's header
    codec = pa.Codec("zstd")
    return lambda data: codec.compress(data, asbytes=True)


def plain(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return the batch with dictionaries resolved and without metadata: values alone."""
    if batch.schema.metadata is None and all(map(_is_plain, batch.schema)):
        return batch
    fields, columns = [], []
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        flat = column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column
        fields.append(pa.field(name, flat.type))
        columns.append(flat)
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _is_plain(field: pa.Field[Any]) -> bool:
    is_bare = field.nullable and field.metadata is None
    return is_bare and not pa.types.is_dictionary(field.type)


def columns_of(schema: pa.Schema) -> dict[str, str]:
    """Return names and types as the journal keeps them; how text is stored makes no difference."""
    return {field.name: str(field.type).replace("large_", "") for field in schema}


class _Page:
    """Memory that one batch after the other is formatted into.

    Fresh memory for each costs a third of the formatting: the system hands it out page by page.
    What was returned must be let go before the next batch.
    """

    def __init__(self) -> None:
        self._out = io.BytesIO()

    def blank(self) -> io.BytesIO:
        """Return the memory, to be written from its beginning."""
        self._out.seek(0)
        return self._out

    def written(self) -> memoryview:
        """Return what has been written since it was blank."""
        return self._out.getbuffer()[: self._out.tell()]


class Csv:
    """RFC 4180, ISO 8601, NaN and inf as such; nested values as JSON text, bytes as base64."""

    fixed_columns = True

    def __init__(self, options: Shape) -> None:
        self._header = options.header is not False
        self._separator = options.delimiter or ","
        self._null = options.null_value or ""
        self._quotes = _QUOTES[options.quote_style or "necessary"]
        self.dialect = f"delimiter {self._separator!r}, null {self._null!r}, quotes {self._quotes}"
        self._page = _Page()

    def head(self, schema: pa.Schema) -> bytes:
        """Return the line of names, if it is asked for."""
        if not self._header:
            return b""
        names = pl.DataFrame(schema=dict.fromkeys(schema.names, pl.String))
        return self._written(names, header=True, zoned="").tobytes()

    def rows(self, batch: pa.RecordBatch) -> memoryview:
        """Return one line a row."""
        frame = frame_of(batch, "csv")
        zoned = zone_format(frame)
        return self._written(csv_values(frame, native_zone=bool(zoned)), header=False, zoned=zoned)

    def _written(self, frame: pl.DataFrame, *, header: bool, zoned: str) -> memoryview:
        out = self._page.blank()
        frame.write_csv(
            out,
            include_header=header,
            batch_size=SLICE_ROWS,
            separator=self._separator,
            null_value=self._null,
            quote_style=self._quotes,
            datetime_format=zoned or None,
        )
        return self._page.written()


class Json:
    """One object a line. NaN and inf are null, for JSON has none; decimals and bytes are text."""

    fixed_columns = False
    dialect = ""

    def __init__(self) -> None:
        self._page = _Page()
        self._schema: pa.Schema | None = None
        """Of the latest batch."""
        self._as_they_are = False
        """JSON is known to hold all its columns as they are."""
        self._handful: Handful | None = None
        """What writes a few rows of them, if it can."""

    def head(self, schema: pa.Schema) -> bytes:  # noqa: ARG002 - of the protocol
        """Return nothing: every line names its columns."""
        return b""

    def rows(self, batch: pa.RecordBatch) -> memoryview:
        """Return one line a row."""
        if self._schema is None or not self._schema.equals(batch.schema):
            handful = Handful(batch.schema)
            self._handful = handful if handful.takes else None
            self._schema, self._as_they_are = batch.schema, False
        if self._handful is not None and 0 < batch.num_rows <= HANDFUL_ROWS:
            with suppress(OverflowError):
                return memoryview(self._handful.lines(batch))
        if self._as_they_are and 0 < batch.num_rows <= FEW_ROWS:
            return _few(batch)
        frame = frame_of(batch, "json")
        self._as_they_are = not needs_text(frame) and frame.columns == batch.schema.names
        out = self._page.blank()
        json_values(frame).write_ndjson(out)
        return self._page.written()


def _few(batch: pa.RecordBatch) -> memoryview:
    rows = pl.Series(batch.to_struct_array()).struct.json_encode()
    return memoryview("".join(f"{row}\n" for row in rows).encode())


class Text:
    """One column, one value a line; null is an empty line."""

    fixed_columns = False
    dialect = ""

    def __init__(self, column: str | None) -> None:
        self._column = column

    def head(self, schema: pa.Schema) -> bytes:
        """Return nothing, once the column is known to be there."""
        self._named(schema)
        return b""

    def rows(self, batch: pa.RecordBatch) -> memoryview:
        """Return one line a row."""
        name = self._named(batch.schema)
        kind = batch.schema.field(name).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise Rejected(f"column {name!r} is {kind}; cast it to string", field="options.column")
        broken = pc.match_substring_regex(batch[name], "[\r\n]")
        if pc.any(broken).as_py():
            row = pc.index(broken, pa.scalar(True)).as_py()
            raise Rejected(
                f"column {name!r}: the value in row {row} of the batch has a line break, which"
                " text cannot hold; write json or csv",
                code="RECORD_REJECTED",
            )
        out = io.BytesIO()
        lines = frame_of(batch.select([name]), "text")
        lines.write_csv(out, include_header=False, quote_style="never", null_value="")
        return out.getbuffer()

    def _named(self, schema: pa.Schema) -> str:
        names = ", ".join(schema.names)
        if self._column is None and len(schema.names) == 1:
            return str(schema.names[0])
        if self._column is None:
            raise Rejected(f"missing; say which of {names}", field="options.column")
        if self._column not in schema.names:
            raise Rejected(f"no column {self._column!r}, there are {names}", field="options.column")
        return self._column


class Arrow:
    """An Arrow stream: the form of a parquet or Arrow file that can be cut and gone on with."""

    fixed_columns = True
    dialect = ""

    def __init__(self, becomes: Format) -> None:
        self._becomes = becomes

    def head(self, schema: pa.Schema) -> bytes:
        """Return the stream's schema message."""
        for field in schema:
            if any(pa.types.is_dictionary(t) for t in types_within(field.type)):
                raise refused(field, self._becomes)
        return schema.serialize().to_pybytes()

    def rows(self, batch: pa.RecordBatch) -> memoryview:
        """Return the batch as one message."""
        return memoryview(batch.serialize())
