"""Rows by key: which of them delete, and which have no key."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect import Rejected
from dataflow.connectors.postgres.merging import DELETED, ROW

DELETES = ("d", "delete")
"""What change data capture calls a deletion."""

TRUNCATES = ("t", "truncate")
"""And the deletion of all rows; its own row has no key."""


def keyed(
    batch: pa.RecordBatch, keys: Sequence[str], delete_column: str | None
) -> tuple[pa.RecordBatch, Sequence[int], dict[int, str]]:
    """Return the rows that have a key as the stage takes them, where each was, and the others."""
    _there(batch, keys, "options.keys")
    rows = pa.array(range(batch.num_rows), pa.int64())
    deleted = _deleted(batch, delete_column)
    given = batch
    if delete_column is not None:
        batch = batch.drop_columns([delete_column])
    staged = batch.append_column(ROW, rows).append_column(DELETED, deleted)
    every = range(batch.num_rows)
    keyless = {
        row: f"column {key!r}: a key cannot be null"
        for key in keys
        if (null := batch.column(key).is_null()).true_count
        for row in compress(every, null.to_pylist())
    }
    if not keyless:
        return staged, every, {}
    for row in keyless.keys() & truncating(given, delete_column):
        keyless[row] = (
            "it says that the table was truncated; set truncates of the sink to apply, or of the"
            " source to skip"
        )
    kept = pc.invert(pc.is_in(rows, value_set=pa.array(keyless, pa.int64())))
    return staged.filter(kept), [row for row in every if row not in keyless], keyless


def truncating(batch: pa.RecordBatch, delete_column: str | None) -> Sequence[int]:
    """Return the rows which say that all before them are gone."""
    if delete_column is None or delete_column not in batch.schema.names:
        return ()
    column = _plain(batch.column(delete_column))
    if not _is_text(column):
        return ()
    marks = pc.is_in(column, value_set=pa.array(TRUNCATES, column.type))
    return [row for row in pc.indices_nonzero(marks).to_pylist() if row is not None]


def _plain(column: pa.Array[Any]) -> pa.Array[Any]:
    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def _is_text(column: pa.Array[Any]) -> bool:
    return pa.types.is_string(column.type) or pa.types.is_large_string(column.type)


def _deleted(batch: pa.RecordBatch, name: str | None) -> pa.Array[Any]:
    if name is None:
        return pa.repeat(pa.scalar(False), batch.num_rows)
    _there(batch, [name], "options.deleteColumn")
    column = _plain(batch.column(name))
    if pa.types.is_boolean(column.type):
        return column.fill_null(False)
    if _is_text(column):
        return pc.is_in(column, value_set=pa.array(DELETES, column.type))
    raise Rejected(
        f"column {name!r} is {column.type}; use bool, or string with 'd' or 'delete'",
        field="options.deleteColumn",
    )


def _there(batch: pa.RecordBatch, names: Sequence[str], field: str) -> None:
    for name in names:
        if name not in batch.schema.names:
            held = ", ".join(batch.schema.names)
            raise Rejected(f"the rows have no column {name!r}, only {held}", field=field)
