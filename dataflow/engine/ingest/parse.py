"""From a payload to the rows that are stored. Runs in threads; imported with the first batch.

Records in JSON are parsed by Arrow, whose types are strict. Polars 2.1 is faster (2.4 against
1.6 M records/s), takes a number for a string, the first of two fields of one name, and an
unpaired surrogate for NUL.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from dataflow.core.errors import Code, Rejected
from dataflow.engine.ingest import columns, infer_json, parse_arrow, parse_json, rows
from dataflow.engine.ingest.columns import Misfit
from dataflow.engine.ingest.pushed import Parsed

STORED_BYTES_MAX = 64 << 20
"""Of one batch as rows: four times what it may take as it comes."""


def parse(
    content_type: str, payload: bytes, types: Mapping[str, str], stored: bytes | None
) -> Parsed:
    """Parse a batch, whole or not at all.

    Args:
        content_type: ``application/json``, ``application/x-ndjson``, or Arrow's stream.
        payload: as it came.
        types: the declared columns; none to take them from this batch, if it is the first.
        stored: the log's schema; None before its first batch.

    Raises:
        Rejected: a record does not fit; the field is ``records[n].name``, counting from 0.
    """
    schema = columns.agreed(types, stored)
    try:
        batch = rows_of(content_type, payload, schema)
    except Misfit as misfit:
        raise misfit.rejected() from misfit
    if not batch.num_rows:
        raise Rejected("the batch holds no records", field="records")
    if batch.nbytes > STORED_BYTES_MAX:
        raise too_large(f"the records take {batch.nbytes} bytes in memory")
    return Parsed(rows.write_schema(batch.schema), batch.num_rows, rows.write_rows(batch))


def too_large(what: str) -> Rejected:
    """Return the error for a batch that is small on its way and large in memory."""
    message = f"{what}, more than a batch may; send fewer records at a time"
    return Rejected(message, code=Code.TOO_LARGE, field="records")


def rows_of(content_type: str, payload: bytes, schema: pa.Schema | None) -> pa.RecordBatch:
    """Return the rows of a payload, in the types that it shows if there is no schema.

    Raises:
        Misfit: a record does not fit.
        Rejected: there are too many.
    """
    if content_type == "application/vnd.apache.arrow.stream":
        return parse_arrow.parse(payload, schema)
    body = parse_json.Body(payload, array=content_type == "application/json")
    return parse_json.parse(body, schema if schema is not None else infer_json.infer(body))
