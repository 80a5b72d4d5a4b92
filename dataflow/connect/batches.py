"""Arrow tables as single batches, and the names of their types."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from dataflow.connect.sink import REFUSED_COLUMNS
from dataflow.connect.types import from_arrow


def one_batch(table: pa.Table) -> pa.RecordBatch:
    """Return a table as one batch, without a copy where it is in one piece."""
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else empty(table.schema)


def empty(schema: pa.Schema) -> pa.RecordBatch:
    """Return a batch without rows."""
    return pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)


def type_name(of: pa.DataType) -> str:
    """Return the name by which people declare a type."""
    return str(from_arrow(of))


def refusals(errors: Mapping[int, str]) -> pa.RecordBatch:
    """Return refused rows as a sink tells them, from why each was, by row."""
    rows = sorted(errors)
    texts = [errors[row] for row in rows]
    columns = [pa.array(rows, pa.int64()), pa.array(texts, pa.large_string())]
    return pa.record_batch(columns, names=list(REFUSED_COLUMNS))
