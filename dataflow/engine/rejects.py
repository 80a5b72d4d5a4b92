"""What happens to records that a step could not handle: fail, skip, or keep as dead letters."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect import OnError, Rejected
from dataflow.connect.transform import ERROR, HIDDEN, ORDINAL
from dataflow.core.errors import Code
from dataflow.core.ids import SplitId
from dataflow.engine.items import Rows
from dataflow.engine.json_rows import json_rows

_FIELDS: list[pa.Field[Any]] = [
    pa.field("step", pa.string()),
    pa.field("split", pa.string()),
    pa.field("ordinal", pa.int64()),
    pa.field("record", pa.large_string()),
    pa.field("error", pa.large_string()),
    pa.field("time", pa.timestamp("us", tz="UTC")),
]
LETTERS = pa.schema(_FIELDS)

ERROR_SHOWN_MAX = 200
"""Characters of a step's error that a failed pipeline shows: enough to know it by."""

Columns: TypeAlias = "tuple[pa.Array[Any], pa.Array[Any], pa.Array[Any]]"
"""Ordinals, records and errors of the rows that were refused."""


class Rejects:
    """Applies one step's policy to the rows it refused."""

    def __init__(self, step: str, policy: OnError) -> None:
        self._step = step
        self._policy = policy

    def unread(self, rows: Rows, rejected: pa.RecordBatch, first: int, now: datetime) -> None:
        """Take records a source could not read; ``index`` counts from the chunk's first record."""
        ordinals = pc.add(rejected.column("index"), pa.scalar(first, pa.int64()))
        columns = ordinals, rejected.column("record"), rejected.column("error")
        self._apply(rows, columns, now)

    def unhandled(self, rows: Rows, rejected: pa.RecordBatch, now: datetime) -> None:
        """Take rows a transform could not handle, with their columns, ordinal and error."""
        shown = [name for name in rejected.schema.names if name not in HIDDEN]
        records = json_rows(rejected.select(shown))
        self._apply(rows, (rejected.column(ORDINAL), records, rejected.column(ERROR)), now)

    def unwritten(self, rows: Rows, refused: pa.RecordBatch, now: datetime) -> None:
        """Take out of ``rows`` those that a sink refused; ``index`` counts from the first."""
        index = refused.column("index")
        bad = rows.batch.take(index)
        shown = [name for name in bad.schema.names if name not in HIDDEN]
        records = json_rows(bad.select(shown))
        self._apply(rows, (bad.column(ORDINAL), records, refused.column("error")), now)
        every = pa.array(range(rows.batch.num_rows), pa.int64())
        rows.batch = rows.batch.filter(pc.invert(pc.is_in(every, value_set=index)))

    def _apply(self, rows: Rows, columns: Columns, now: datetime) -> None:
        ordinals, _, errors = columns
        if not len(ordinals):
            return
        match self._policy:
            case OnError.SKIP:
                rows.skipped += len(ordinals)
            case OnError.DEAD_LETTER:
                rows.dead.append(self._letters(rows.split, columns, now))
            case _:
                raise self._failure(rows.split, ordinals[0].as_py(), errors[0].as_py())

    def _letters(self, split: SplitId, columns: Columns, now: datetime) -> pa.RecordBatch:
        ordinals, records, errors = columns
        count = len(ordinals)
        filled = [
            pa.repeat(pa.scalar(self._step, pa.string()), count),
            pa.repeat(pa.scalar(str(split), pa.string()), count),
            ordinals.cast(pa.int64()),
            records.cast(pa.large_string()),
            errors.cast(pa.large_string()),
            pa.repeat(pa.scalar(now, pa.timestamp("us", tz="UTC")), count),
        ]
        return pa.record_batch(filled, schema=LETTERS)

    def _failure(self, split: SplitId, ordinal: int, error: str) -> Rejected:
        return Rejected(
            f"record {ordinal} of {split!r}: {error[:ERROR_SHOWN_MAX]}; set onError to skip or"
            " dead-letter to go on without such records",
            code=Code.RECORD_REJECTED,
            field=self._step,
        )
