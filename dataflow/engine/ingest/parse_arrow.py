"""Records as an Arrow IPC stream, to rows.

A stream comes from outside: its buffers are checked before anything computes with them, and what
can be small on its way and huge in memory (compressed buffers, dictionaries, views) is refused
or measured first.
"""

from __future__ import annotations

import struct
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect.batches import one_batch, type_name
from dataflow.connect.types import from_arrow, to_arrow
from dataflow.core.errors import Code, Rejected
from dataflow.engine.ingest.columns import DEPTH_MAX, Misfit, checked, depth, shown

EXPANDED_BYTES_MAX = 64 << 20
"""What dictionaries and views may become as plain texts."""

CELLS_MAX = 16 << 20
"""Rows of columns that the stream lacks and the log has, or that take no bytes, are bounded too."""

_COMPRESSION_SLOT = 3  # of a RecordBatch in Arrow's format/Message.fbs
_BATCH_HEADERS = frozenset({2, 3})  # DictionaryBatch, RecordBatch of MessageHeader there

_TEXTS = (pa.StringArray, pa.LargeStringArray, pa.BinaryArray, pa.LargeBinaryArray)


def parse(payload: bytes, schema: pa.Schema | None) -> pa.RecordBatch:
    """Return the records of a stream in the log's types; the stream's own if there is no schema.

    Raises:
        Misfit: the stream is damaged, or a column or a value does not fit.
        Rejected: it would be too large in memory.
    """
    try:
        _refuse_compression(payload)
        table = pa.ipc.open_stream(payload).read_all()
        table.validate()
        _measure_views(table)
        table.validate(full=True)
    except (pa.ArrowException, OSError, struct.error, EOFError) as error:
        raise Misfit(f"not an Arrow IPC stream: {error}") from error
    wanted = _plain(table.schema) if schema is None else schema
    _refuse_unknown(table.schema, wanted)
    if table.num_rows * len(wanted) > CELLS_MAX:
        raise _too_large(f"{table.num_rows} records of {len(wanted)} fields")
    columns = [_column(table, field) for field in wanted]
    return one_batch(pa.Table.from_arrays(columns, schema=wanted))


def _plain(found: pa.Schema) -> pa.Schema:
    """Return a first stream's schema with every column in the one form its type has here."""
    checked(found)
    return pa.schema([pa.field(field.name, _plain_type(field)) for field in found])


def _plain_type(field: pa.Field[Any]) -> pa.DataType:
    if depth(field.type) > DEPTH_MAX:
        message = f"lists and objects stand in one another more than {DEPTH_MAX} deep"
        raise Misfit(message, field=field.name)
    if pa.types.is_null(field.type):
        return pa.string()
    try:
        return to_arrow(from_arrow(field.type))
    except Rejected as error:
        message = f"a log cannot have columns of type {field.type}"
        raise Misfit(message, field=field.name) from error


def _refuse_unknown(found: pa.Schema, wanted: pa.Schema) -> None:
    for name in found.names:
        if name not in wanted.names:
            raise Misfit(f"unknown field; the source has {shown(wanted)}", field=name)
        if found.names.count(name) > 1:
            raise Misfit("two columns have this name", field=name)


def _column(table: pa.Table, field: pa.Field[Any]) -> pa.ChunkedArray[Any]:
    if field.name not in table.schema.names:
        return pa.chunked_array([pa.nulls(table.num_rows, field.type)])
    column = table.column(field.name)
    if column.type == field.type:
        return column
    if not _same_kind(column.type, field.type):
        expected, found = type_name(field.type), type_name(column.type)
        raise Misfit(f"expected {expected}, the stream has {found}", field=field.name)
    if _expanded(column) > EXPANDED_BYTES_MAX:
        raise _too_large(f"the texts of column {field.name!r}")
    try:
        return pc.cast(column, field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _first_misfit(column, field, str(error)) from error


def _same_kind(found: pa.DataType, wanted: pa.DataType) -> bool:
    """Tell whether the types are one, or whole values of one can be held by the other."""
    if pa.types.is_null(found) or from_arrow(found) == from_arrow(wanted):
        return True
    if pa.types.is_timestamp(found) and pa.types.is_timestamp(wanted):
        return from_arrow(found) == from_arrow(wanted) or _zone(found) == _zone(wanted)
    integers = pa.types.is_integer(found) and pa.types.is_integer(wanted)
    floats = pa.types.is_floating(found) and wanted == pa.float64()
    return integers or floats


def _zone(of: pa.DataType) -> str | None:
    return of.tz if isinstance(of, pa.TimestampType) else None


def _measure_views(table: pa.Table) -> None:
    """Refuse views that would be huge, BEFORE each of them is checked to be UTF-8."""
    for field, column in zip(table.schema, table.columns, strict=True):
        if _nested_sharing(field.type):
            raise Misfit("send plain texts and lists within lists and objects", field=field.name)
        total = 0
        for chunk in column.chunks:
            values = chunk.dictionary if isinstance(chunk, pa.DictionaryArray) else chunk
            total += pc.sum(_lengths(values)).as_py() or 0 if _is_view(values.type) else 0
        if total > EXPANDED_BYTES_MAX:
            raise _too_large(f"the texts of column {field.name!r}")


def _expanded(column: pa.ChunkedArray[Any]) -> int:
    """Return how many bytes a column's dictionary entries take once each stands for itself."""
    total = 0
    for chunk in column.chunks:
        if isinstance(chunk, pa.DictionaryArray):
            lengths = _lengths(chunk.dictionary).take(chunk.indices)
            total += pc.sum(lengths).as_py() or 0
    return total


def _lengths(values: pa.Array[Any]) -> pa.Array[Any]:
    """Return the length of each text, 0 for what is none; counted in 64 bits."""
    if _is_view(values.type):
        # A view is four int32, the first of them its length; Arrow has no kernel for it (26.0.1).
        begin, end = 4 * values.offset, 4 * (values.offset + len(values))
        parts = pa.Array.from_buffers(pa.int32(), end, [None, values.buffers()[1]])
        lengths: pa.Array[Any] = parts.take(pa.array(range(begin, end, 4), pa.int64()))
    elif isinstance(values, _TEXTS):
        lengths = pc.binary_length(values)
    else:
        return pa.nulls(len(values), pa.int64())
    return lengths.cast(pa.int64())


def _nested_sharing(of: pa.DataType) -> bool:
    """Tell whether values within lists and objects may share bytes, so that none can be counted."""
    if isinstance(of, pa.DictionaryType):
        return bool(of.value_type.num_fields)
    parts = [of.field(index).type for index in range(of.num_fields)]
    return any(_sharing(part) or _nested_sharing(part) for part in parts)


def _sharing(of: pa.DataType) -> bool:
    return pa.types.is_dictionary(of) or _is_view(of)


def _is_view(of: pa.DataType) -> bool:
    return pa.types.is_string_view(of) or pa.types.is_binary_view(of)


def _first_misfit(column: pa.ChunkedArray[Any], field: pa.Field[Any], why: str) -> Misfit:
    """Return what is wrong with the first value that the log's type cannot hold."""
    first, count = 0, len(column)
    while count > 1:
        half = count // 2
        try:
            pc.cast(column.slice(first, half), field.type)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            count = half
        else:
            first, count = first + half, count - half
    message = f"expected {type_name(field.type)}: {why}"
    return Misfit(message, record=first, field=field.name)


def _too_large(what: str) -> Rejected:
    message = f"{what} are more than a batch may hold in memory; send fewer records at a time"
    return Rejected(message, code=Code.TOO_LARGE, field="records")


def _refuse_compression(payload: bytes) -> None:
    """Refuse a stream whose buffers are compressed: nothing says what they become."""
    for message in pa.ipc.MessageReader.open_stream(payload):
        if _compressed(message.metadata.to_pybytes()):
            raise Misfit("send the stream without compression of its buffers")


def _compressed(metadata: bytes) -> bool:
    """Tell whether a message of Arrow's format holds a compressed batch (flatbuffers)."""
    (table,) = struct.unpack_from("<I", metadata)
    kind = _slot(metadata, table, 1)
    header = _slot(metadata, table, 2)
    if not kind or not header or metadata[kind] not in _BATCH_HEADERS:
        return False
    batch = header + struct.unpack_from("<I", metadata, header)[0]
    return bool(_slot(metadata, batch, _COMPRESSION_SLOT))


def _slot(metadata: bytes, table: int, slot: int) -> int:
    """Return where a table's field stands; 0 if it is absent."""
    begin = table - struct.unpack_from("<i", metadata, table)[0]
    (size,) = struct.unpack_from("<H", metadata, begin)
    at = 4 + 2 * slot
    if at >= size:
        return 0
    (offset,) = struct.unpack_from("<H", metadata, begin + at)
    return table + offset if offset else 0
