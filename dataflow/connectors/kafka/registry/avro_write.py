"""Rows to Avro records, a column at a time: the bytes of each field of all rows, then joined.

Measured on 50,000 rows of 6 columns: 0.9 us of CPU a row; to_pylist and fastavro take 8.8 us.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect import Rejected
from dataflow.connectors.kafka.registry.avro_types import Avro, parsed
from dataflow.connectors.kafka.registry.client import Schema
from dataflow.connectors.kafka.registry.fitting import counts, fit

Array = Any
"""An array of Arrow's; its stubs know too much of each function's."""
Numbers = np.ndarray[Any, Any]

_VARINT_BYTES_MAX = 10
_DECIMAL_BYTES = 16
_FLOATS = {"float": "<f4", "double": "<f8"}
_INT_BITS = 32
_PLAIN_DEFAULT = (bool, int, float, str)


class AvroWriter:
    """Writes rows as records of one schema.

    Raises:
        Unreadable: the schema holds what no column can.
    """

    def __init__(self, schema: Schema) -> None:
        self._type = parsed(schema)
        self._frame = b"\0" + schema.id.to_bytes(4, "big")
        fields = zip(self._type.names, self._type.parts, strict=True)
        self.schema = pa.schema([(name, one.arrow) for name, one in fields])

    def written(self, batch: pa.RecordBatch) -> tuple[pa.Array[Any], Mapping[int, str]]:
        """Return a framed record for each row that fits, and why the others do not.

        Raises:
            Rejected: a field that has to be there is no column.
        """
        fitted, wrong = fit(self._completed(batch), self.schema)
        kept = np.setdiff1d(np.arange(batch.num_rows), list(wrong))
        lacking = self._lacking(fitted)
        if lacking:
            wrong = {**wrong, **{int(kept[row]): why for row, why in lacking.items()}}
            fitted = fitted.filter(pa.array([row not in lacking for row in range(len(kept))]))
        parts = [
            encoded(one, fitted.column(name))
            for name, one in zip(self._type.names, self._type.parts, strict=True)
        ]
        return _joined(pa.scalar(self._frame), *parts), wrong

    def _completed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return rows with the defaults of fields that they do not have."""
        for name, one in zip(self._type.names, self._type.parts, strict=True):
            if name in batch.schema.names or one.null_at >= 0 or one.kind == "null":
                continue
            default = self._type.defaults.get(name)
            if not isinstance(default, _PLAIN_DEFAULT) or one.kind in {"bytes", "fixed"}:
                message = f"the schema needs a field {name!r}, which rows have not"
                remedy = "compute it in a map step, or give it a default in the schema"
                raise Rejected(f"{message}; {remedy}", field="options.registry")
            column: Any = pa.array([default] * batch.num_rows)
            batch = batch.append_column(name, column.cast(one.arrow))
        return batch

    def _lacking(self, batch: pa.RecordBatch) -> Mapping[int, str]:
        found: dict[int, str] = {}
        for name, one in zip(self._type.names, self._type.parts, strict=True):
            rows = np.flatnonzero(_misfits(one, batch.column(name))).tolist()
            message = f"field {name!r}: null, or a value that the schema has not there"
            found |= dict.fromkeys(rows, message)
        return found


def _misfits(of: Avro, column: Array) -> Numbers:
    """Tell of each value whether it is none of a type, though Arrow's is the same."""
    missing = _numpy(column.is_null())
    wrong = missing & (of.null_at < 0 and of.kind != "null")
    match of.kind:
        case "enum":
            known = pc.is_in(column, value_set=pa.array(of.symbols, pa.string()))
            return wrong | (~_numpy(known) & ~missing)
        case "fixed" if not pa.types.is_decimal(of.arrow):
            lengths: Array = pc.binary_length(column)
            found: Numbers = wrong | (_numpy(lengths.fill_null(of.size)) != of.size)
            return found
        case "record":
            for one, part in zip(of.parts, _flat(column), strict=True):
                wrong = wrong | (_misfits(one, part) & ~missing)
            return wrong
        case "array" | "map":
            inner = column.flatten()
            if of.kind == "map":
                keys, values = _flat(inner)
                bad = _numpy(keys.is_null()) | _misfits(of.parts[0], values)
            else:
                bad = _misfits(of.parts[0], inner)
            owners = np.repeat(np.arange(len(column)), _numpy(counts(column)))
            wrong[owners[bad]] = True
            return wrong
        case _:
            return wrong


def encoded(of: Avro, column: Array) -> Array:
    """Return the bytes of each value; there are no nulls in that."""
    if of.kind == "null":
        return _fixed(b"", 0, len(column))
    if of.null_at < 0:
        return _value(of, column)
    none, some = (b"\0", b"\2") if of.null_at == 0 else (b"\2", b"\0")
    found = _joined(pa.scalar(some), _value(of, column))
    chosen: Array = pc.if_else(column.is_null(), pa.scalar(none), found)
    return chosen


def _value(of: Avro, column: Array) -> Array:
    """Return the bytes of each value; of nulls any."""
    if isinstance(of.arrow, pa.Decimal128Type):
        return _decimals(of, column)
    match of.kind:
        case "boolean":
            return pc.if_else(pc.fill_null(column, False), b"\1", b"\0")
        case "int" | "long" | "float" | "double" | "enum":
            return _numbers(of, column)
        case "fixed":
            return column.fill_null(bytes(of.size))
        case "record":
            parts = [encoded(one, part) for one, part in zip(of.parts, _flat(column), strict=True)]
            return _joined(_fixed(b"", 0, len(column)), *parts)
        case "array" | "map":
            return _lists(of, column)
        case _:
            texts = column.cast(pa.binary()).fill_null(b"")
            sizes = _numpy(pc.binary_length(texts)).astype(np.int64)
            return _joined(varints(sizes), texts)


def _numbers(of: Avro, column: Array) -> Array:
    if of.kind in _FLOATS:
        numbers = _numpy(column.fill_null(0.0)).astype(_FLOATS[of.kind])
        return _fixed(numbers, numbers.itemsize, len(column))
    if of.kind == "enum":
        symbols = pa.array(of.symbols, pa.string())
        column = pc.index_in(column, value_set=symbols)
    plain = column.view(pa.int32() if column.type.bit_width == _INT_BITS else pa.int64())
    return varints(_numpy(plain.fill_null(0)).astype(np.int64))


def _lists(of: Avro, column: Array) -> Array:
    """Return each list as a block of its items and an empty one, which ends it."""
    inner = column.flatten()
    if of.kind == "map":
        keys, values = _flat(inner)
        items = _joined(_value(_KEY, keys), encoded(of.parts[0], values))
    else:
        items = encoded(of.parts[0], inner)
    sizes = _numpy(counts(column)).astype(np.int64)
    ends = np.concatenate(([0], np.cumsum(sizes)))
    _, at, data = items.buffers()
    bounds = np.frombuffer(at, np.int32, len(items) + 1, items.offset * 4) if len(items) else None
    offsets = np.zeros(len(sizes) + 1, np.int32) if bounds is None else bounds[ends]
    blocks = _binary(offsets.astype(np.int32), data if data is not None else pa.py_buffer(b""))
    filled = _joined(varints(sizes), blocks, pa.scalar(b"\0"))
    found: Array = pc.if_else(pa.array(sizes > 0), filled, b"\0")
    return found


_KEY = Avro("string", pa.string())


def _decimals(of: Avro, column: Array) -> Array:
    """Return whole numbers as big-endian bytes; sixteen, where as many may be written."""
    plain = pa.concat_arrays([column]) if column.offset else column
    raw = np.frombuffer(plain.buffers()[1], np.uint8, len(plain) * _DECIMAL_BYTES)
    digits = raw.reshape(-1, _DECIMAL_BYTES)[:, ::-1]
    if of.kind == "fixed":
        return _fixed(
            np.ascontiguousarray(digits[:, _DECIMAL_BYTES - of.size :]), of.size, len(plain)
        )
    texts = _fixed(np.ascontiguousarray(digits), _DECIMAL_BYTES, len(plain))
    return _joined(varints(np.full(len(plain), _DECIMAL_BYTES, np.int64)), texts)


def varints(numbers: Numbers) -> Array:
    """Return int64 numbers, each in as few groups of seven bits as it needs."""
    left = ((numbers << 1) ^ (numbers >> 63)).astype(np.uint64)
    sizes = np.ones(len(left), np.int64)
    for size in range(1, _VARINT_BYTES_MAX):
        sizes += left >= np.uint64(1) << np.uint64(7 * size)
    offsets = np.concatenate(([0], np.cumsum(sizes)))
    out = np.empty(offsets[-1], np.uint8)
    for place in range(int(sizes.max(initial=0))):
        has = sizes > place
        group = (left[has] >> np.uint64(7 * place)) & np.uint64(0x7F)
        more = (sizes[has] > place + 1).astype(np.uint64) << np.uint64(7)
        out[offsets[:-1][has] + place] = group | more
    return _binary(offsets.astype(np.int32), _bytes(out))


def _fixed(data: Array, size: int, count: int) -> Array:
    return _binary(np.arange(count + 1, dtype=np.int32) * np.int32(size), _bytes(data))


def _binary(offsets: Numbers, data: pa.Buffer) -> Array:
    buffers = [None, _bytes(np.ascontiguousarray(offsets)), data]
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, buffers)


def _joined(*parts: Array) -> Array:
    found: Array = pc.binary_join_element_wise(*parts, pa.scalar(b""))
    return found


def _flat(column: Array) -> list[Array]:
    parts: list[Array] = column.flatten()
    return parts


def _numpy(column: Array) -> Numbers:
    found: Numbers = column.to_numpy(zero_copy_only=False)
    return found


def _bytes(data: Array) -> pa.Buffer:
    return pa.py_buffer(data)
