"""Arrow rows as JSON text, one object a row: for people, in dead letters and previews."""

from __future__ import annotations

import orjson
import pyarrow as pa


def json_rows(batch: pa.RecordBatch) -> pa.LargeStringArray:
    """Return one JSON object a row, as text; for few rows, not for the data path."""
    rows = [
        orjson.dumps(row, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
        for row in batch.to_pylist()
    ]
    return pa.array(rows, pa.large_string())
