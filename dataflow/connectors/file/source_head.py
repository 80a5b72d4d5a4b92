"""The beginning of a file: where its records begin, its header, and how it is known again."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from dataflow.connect import Rejected
from dataflow.connectors.file.arrow_ends import is_file, is_stream
from dataflow.connectors.file.csv_parse import lines_of, parsing, read
from dataflow.connectors.file.scan import RECORD_BYTES_MAX
from dataflow.connectors.file.source_options import (
    WRITTEN_ONCE,
    FilePosition,
    FileSourceOptions,
    Format,
    compression_of,
)
from dataflow.connectors.file.source_stream import Cut, Stream, open_stream
from dataflow.connectors.file.source_stream import reading as io
from dataflow.connectors.formats.lines import Lines

HEAD_BYTES = 1 << 10
"""Of a file, to know it again: rotated logs differ within their first lines."""

_BOM = b"\xef\xbb\xbf"
_MAGIC = b"PAR1"
_PARQUET_MIN = 12
_BEGIN_BYTES = 8
"""Tell an Arrow file from a stream."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the beginning of a file shows.

    Attributes:
        names: of the columns in a csv header; empty where there is none.
        body: the offset of the first record.
        data: the first bytes; of a parquet or Arrow file its last, which change whenever it does.
        identity: of the first record, or None while that is not complete.
    """

    names: tuple[str, ...]
    body: int
    data: bytes
    identity: str | None

    def require_same(self, path: Path, start: FilePosition) -> None:
        """Check that a position was taken in this file.

        Raises:
            Rejected: it is another one by now.
        """
        known = self.data[: start.head_bytes]
        if len(known) < start.head_bytes:
            raise changed(path, start, "it has been truncated")
        if start.head and digest(known) != start.head:
            raise changed(path, start, "its content has been replaced")


def escaped(name: str) -> str:
    """Return the name of a file as text: that of a file may be any bytes."""
    return name.encode("utf-8", "backslashreplace").decode()


def changed(path: Path | str, start: FilePosition, how: str) -> Rejected:
    """Return the error of a file that is no longer what has been read of it."""
    where = f"row group {start.row_group}" if start.row_group else f"offset {start.offset}"
    return Rejected(
        f"{path}: {how} since it was read up to {where};"
        " restore the file, or replay the pipeline from the beginning",
        code="SOURCE_CHANGED",
    )


def digest(data: bytes) -> str:
    """Return a short hash: 64 bits tell apart far more files than a source may have."""
    return hashlib.sha256(data).hexdigest()[:16]


def read_head(path: Path, kind: Format, options: FileSourceOptions) -> Head:
    """Read the beginning of a file.

    Raises:
        Waiting: it is not there.
        Rejected: it is damaged, no file, or may not be read.
        Unavailable: it cannot be read at the moment.
    """
    if kind in WRITTEN_ONCE:
        return _tail(path, kind)
    stream = open_stream(path, compression_of(path.name, options), options.encoding)
    try:
        return _text_head(path, stream, kind, options)
    finally:
        stream.close()


def _tail(path: Path, kind: Format) -> Head:
    with io(path, 0), path.open("rb") as file:
        begin = file.read(_BEGIN_BYTES)
        size = file.seek(0, 2)
        file.seek(max(0, size - HEAD_BYTES))
        data = file.read()
    if kind == "arrow":
        complete = is_file(begin, data) or is_stream(begin, data)
    else:
        complete = size >= _PARQUET_MIN and data.endswith(_MAGIC)
    return Head((), 0, data, digest(data) if complete else None)


@dataclass(frozen=True, slots=True)
class _First:
    """The first record of some data that is not blank.

    Attributes:
        data: what has been read of the file so far.
        end: where the record ends in it.
        whole: whether what is still to come changes nothing in the record's first bytes.
    """

    data: bytes
    record: bytes
    end: int
    whole: bool


def _text_head(path: Path, stream: Stream, kind: Format, options: FileSourceOptions) -> Head:
    lines = lines_of(options) if kind == "csv" else Lines()
    data = _more(stream, b"", watch=options.watch)
    body = len(_BOM) if data.startswith(_BOM) else 0
    names: tuple[str, ...] = ()
    if kind == "csv" and options.has_header:
        header = _record(stream, data, body, lines)
        data, body = header.data, header.end
        if header.record.strip() and (header.whole or not options.watch):
            _require_header(path, header, lines)
            names = _names(path, header.record, options)
    first = _record(stream, data, body, lines)
    identity = digest(first.data[: min(HEAD_BYTES, first.end)]) if first.whole else None
    return Head(names, body, first.data[:HEAD_BYTES], identity)


def _more(stream: Stream, data: bytes, *, watch: bool = True) -> bytes:
    try:
        return data + stream.read(max(HEAD_BYTES, len(data)))
    except Cut as cut:
        if watch:
            return data
        raise Rejected(str(cut), code="CORRUPTED") from cut


def _record(stream: Stream, data: bytes, start: int, lines: Lines) -> _First:
    while True:
        first = start + len(data[start:]) - len(data[start:].lstrip(b"\r\n"))
        end = first + lines.first_end(data[first:])
        whole = end < len(data) or lines.last_end(data[first:]) == end - first > 0
        if whole or len(data) > RECORD_BYTES_MAX:
            return _First(data, data[first:end], end, whole=True)
        more = _more(stream, data)
        if len(more) == len(data):
            return _First(data, data[first:], len(data), whole=False)
        data = more


def _require_header(path: Path, header: _First, lines: Lines) -> None:
    if len(header.record) > RECORD_BYTES_MAX:
        why = f"it is longer than {RECORD_BYTES_MAX >> 20} MiB"
    elif not lines.closed(header.record):
        why = "a quote is not closed"
    else:
        return
    raise Rejected(f"{path}: its header cannot be read: {why}")


def _names(path: Path, record: bytes, options: FileSourceOptions) -> tuple[str, ...]:
    try:
        record.decode()
        table = read(
            record,
            None,
            parsing(options),
            csv.ConvertOptions(
                column_types={
                    f"f{n}": pa.string()
                    for n in range(record.count(options.delimiter.encode()) + 1)
                }
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise Rejected(f"{path}: its header cannot be read: {error}") from error
    names = tuple(str(column[0].as_py()) for column in table.columns)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise Rejected(
            f"{path}: its header names a column twice: {', '.join(map(repr, twice))};"
            " set header to false and give columns, or mend the file"
        )
    return names
