"""What happens to records that a step could not handle: fail, skip, or keep as dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect import OnError, Rejected
from dataflow.connect.transform import ERROR, HIDDEN, ORDINAL
from dataflow.core.errors import Code
from dataflow.core.ids import SplitId
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


@dataclass(frozen=True, slots=True)
class Refused:
    """What became of rows that a step refused: skipped, or kept as letters (``LETTERS``)."""

    skipped: int = 0
    letters: pa.RecordBatch | None = None

    @property
    def dead(self) -> Sequence[pa.RecordBatch]:
        """Return the letters, if there are any."""
        return () if self.letters is None else (self.letters,)

    @property
    def dead_count(self) -> int:
        """Return how many letters there are."""
        return 0 if self.letters is None else self.letters.num_rows


class Rejects:
    """Applies one step's policy to the rows it refused."""

    def __init__(self, step: str, policy: OnError) -> None:
        self._step = step
        self._policy = policy

    def unread(
        self, split: SplitId, rejected: pa.RecordBatch, first: int, now: datetime
    ) -> Refused:
        """Take records a source could not read; ``index`` counts from the chunk's first record.

        Raises:
            Rejected: as all of these do, where the policy is to fail.
        """
        ordinals = pc.add(rejected.column("index"), pa.scalar(first, pa.int64()))
        columns = ordinals, rejected.column("record"), rejected.column("error")
        return self._apply(split, columns, now)

    def unhandled(self, split: SplitId, rejected: pa.RecordBatch, now: datetime) -> Refused:
        """Take rows a transform could not handle, with their columns, ordinal and error."""
        shown = [name for name in rejected.schema.names if name not in HIDDEN]
        records = json_rows(rejected.select(shown))
        return self._apply(split, (rejected.column(ORDINAL), records, rejected.column(ERROR)), now)

    def unwritten(
        self, split: SplitId, batch: pa.RecordBatch, refused: pa.RecordBatch, now: datetime
    ) -> Refused:
        """Take rows of a batch that a sink refused; ``index`` counts from its first."""
        bad = batch.take(refused.column("index"))
        shown = [name for name in bad.schema.names if name not in HIDDEN]
        records = json_rows(bad.select(shown))
        return self._apply(split, (bad.column(ORDINAL), records, refused.column("error")), now)

    def _apply(self, split: SplitId, columns: Columns, now: datetime) -> Refused:
        ordinals, _, errors = columns
        if not len(ordinals):
            return Refused()
        match self._policy:
            case OnError.SKIP:
                return Refused(skipped=len(ordinals))
            case OnError.DEAD_LETTER:
                return Refused(letters=self._letters(split, columns, now))
            case _:
                raise self._failure(split, ordinals[0].as_py(), errors[0].as_py())

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
