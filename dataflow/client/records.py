"""Records as callers hold them, in the forms in which the ingest log takes them.

Arrow is imported only where an Arrow object or file is met: a program that pushes dicts or bytes
needs none of it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TypeAlias, cast, get_args

import orjson

from dataflow.core.errors import Rejected

if TYPE_CHECKING:
    from io import IOBase

    import pyarrow as pa

JSON = "application/json"
NDJSON = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"

Format: TypeAlias = Literal["ndjson", "json", "arrow"]
FORMATS: tuple[str, ...] = get_args(Format)

BATCH_BYTES_MAX = 1 << 20
"""A quarter of gRPC's usual message limit; larger batches are acknowledged no faster."""

BATCH_RECORDS_MAX = 10_000
"""About as many records of 100 B as a batch holds by its bytes."""

DOCUMENT_BYTES_MAX = 64 << 20
"""A JSON array is parsed as a whole; larger inputs belong in NDJSON, which is cut at its lines."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Records in one message. The same ``batch_id`` twice adds nothing the second time."""

    records: bytes
    content_type: str = NDJSON
    batch_id: str = ""


Records: TypeAlias = "Batch | bytes | Sequence[Mapping[str, Any]] | pa.Table | pa.RecordBatch"
"""Bytes are NDJSON; a ``Batch`` says what they are."""


def batch_of(records: Records, batch_id: str) -> Batch:
    """Return the records as one batch that has an id.

    Raises:
        Rejected: they are none of the forms, or a value has no JSON form.
    """
    if isinstance(records, Batch):
        return records if records.batch_id else replace(records, batch_id=batch_id)
    if isinstance(records, bytes):
        return Batch(records, NDJSON, batch_id)
    arrow = sys.modules.get("pyarrow")  # what was never imported made none of these records
    if arrow is not None and isinstance(records, arrow.Table | arrow.RecordBatch):
        return Batch(_stream(records), ARROW, batch_id)
    if isinstance(records, list | tuple):
        return Batch(_lines(records), NDJSON, batch_id)
    raise Rejected(
        f"a {type(records).__name__} holds no records; give a list of dicts, a pyarrow Table or"
        " RecordBatch, bytes of NDJSON, or a Batch",
        field="records",
    )


def read_batches(
    file: BinaryIO,
    file_format: Format,
    *,
    records_max: int = BATCH_RECORDS_MAX,
    bytes_max: int = BATCH_BYTES_MAX,
) -> Iterator[tuple[bytes, str, int]]:
    """Cut a file into batches: yields what to push, its content type, and its records.

    The cuts depend on the input and the two limits alone, so that a second reading makes the same
    batches. An Arrow stream is cut at its own batches, and those that are too long in them.

    Raises:
        Rejected: the file is not what its format says, or a record is larger than a batch.
    """
    match file_format:
        case "ndjson":
            # A limit on each read, or a file without line ends would be read as a whole.
            lines = iter(lambda: file.readline(bytes_max + 1), b"")
            yield from _gathered(lines, records_max, bytes_max)
        case "json":
            yield from _gathered(_document_lines(file), records_max, bytes_max)
        case "arrow":
            yield from _cut_stream(file, records_max)


def _lines(records: Sequence[Mapping[str, Any]]) -> bytes:
    try:
        return b"".join(orjson.dumps(r, option=orjson.OPT_APPEND_NEWLINE) for r in records)
    except TypeError as error:
        raise Rejected(f"no JSON form: {error}", field="records") from error


def _stream(records: pa.Table | pa.RecordBatch) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 - loaded by whoever made the records, never by the client

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, records.schema) as writer:
        writer.write(records)
    return sink.getvalue().to_pybytes()


def _gathered(
    lines: Iterable[bytes], records_max: int, bytes_max: int
) -> Iterator[tuple[bytes, str, int]]:
    held: list[bytes] = []
    size = 0
    for number, line in enumerate(lines, start=1):
        if len(line) > bytes_max:
            raise Rejected(f"record {number} is larger than a batch of {bytes_max} B")
        if not line.strip():
            continue
        if held and (size + len(line) > bytes_max or len(held) >= records_max):
            yield b"".join(held), NDJSON, len(held)
            held, size = [], 0
        held.append(line if line.endswith(b"\n") else line + b"\n")
        size += len(line)
    if held:
        yield b"".join(held), NDJSON, len(held)


def _document_lines(file: BinaryIO) -> Iterator[bytes]:
    text = file.read(DOCUMENT_BYTES_MAX + 1)
    if len(text) > DOCUMENT_BYTES_MAX:
        raise Rejected(
            f"a JSON document of more than {DOCUMENT_BYTES_MAX >> 20} MiB; write it as NDJSON,"
            " one record a line"
        )
    try:
        parsed = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Rejected(f"not JSON: {error}") from None
    for number, record in enumerate(parsed if isinstance(parsed, list) else [parsed], start=1):
        if not isinstance(record, dict):
            raise Rejected(f"record {number} is no object")
        yield orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)


def _cut_stream(file: BinaryIO, records_max: int) -> Iterator[tuple[bytes, str, int]]:
    import pyarrow as pa  # noqa: PLC0415 - half of an idle process's memory, for Arrow files alone

    try:
        with pa.ipc.open_stream(pa.PythonFile(cast("IOBase", file))) as reader:
            for batch in reader:
                for first in range(0, batch.num_rows, records_max):
                    part = batch.slice(first, records_max)
                    yield _stream(part), ARROW, part.num_rows
    except pa.ArrowInvalid as error:
        raise Rejected(f"not an Arrow IPC stream: {error}") from None
