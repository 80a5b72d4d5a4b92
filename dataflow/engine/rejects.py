"""What happens to records that a step could not handle: fail, skip, or keep as dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Any

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
    pa.field("input", pa.string()),
    pa.field("rows", pa.dictionary(pa.int32(), pa.large_binary())),
    pa.field("row", pa.int64()),
]
LETTERS = pa.schema(_FIELDS)
"""``rows`` are those of the batch that were refused, as an Arrow stream, and ``row`` the one of the
letter: it can be replayed as it was. A source has no row for what it could not read, -1, but tells
the columns. ``input`` is the one that a transform had it by."""

SHOWN = ("step", "split", "ordinal", "record", "error", "time")
"""What people are shown of a letter."""

ERROR_SHOWN_MAX = 200
"""Characters of a step's error that a failed pipeline shows: enough to know it by."""

NO_ROW = -1
"""``row`` of a letter whose record was never one."""


@dataclass(frozen=True, slots=True)
class Bad:
    """What was refused of one batch; ``rows`` are all of it, or none where no row could be read."""

    ordinals: pa.Array[Any]
    errors: pa.Array[Any]
    rows: pa.RecordBatch
    records: pa.Array[Any] | None = None
    """As they were read, where they are no rows."""
    input: str = ""


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
        self,
        split: SplitId,
        rejected: pa.RecordBatch,
        first: int,
        now: datetime,
        *,
        schema: pa.Schema,
    ) -> Refused:
        """Take records a source could not read; ``index`` counts from the chunk's first record.

        ``schema`` has the columns of those that it could.

        Raises:
            Rejected: as all of these do, where the policy is to fail.
        """
        ordinals = pc.add(rejected.column("index"), pa.scalar(first, pa.int64()))
        none = pa.RecordBatch.from_pylist([], schema=schema)
        bad = Bad(ordinals, rejected.column("error"), none, rejected.column("record"))
        return self._apply(split, bad, now)

    def unhandled(
        self, split: SplitId, rejected: pa.RecordBatch, now: datetime, by: str = ""
    ) -> Refused:
        """Take rows a transform could not handle, with their columns, ordinal and error.

        ``by`` is the input that they came by.
        """
        columns = rejected.column(ORDINAL), rejected.column(ERROR), _visible(rejected)
        return self._apply(split, Bad(*columns, input=by), now)

    def unwritten(
        self, split: SplitId, batch: pa.RecordBatch, refused: pa.RecordBatch, now: datetime
    ) -> Refused:
        """Take rows of a batch that a sink refused; ``index`` counts from its first."""
        bad = batch.take(refused.column("index"))
        columns = bad.column(ORDINAL), refused.column("error"), _visible(bad)
        return self._apply(split, Bad(*columns), now)

    def _apply(self, split: SplitId, bad: Bad, now: datetime) -> Refused:
        count = len(bad.ordinals)
        if not count:
            return Refused()
        match self._policy:
            case OnError.SKIP:
                return Refused(skipped=count)
            case OnError.DEAD_LETTER:
                return Refused(letters=self._letters(split, bad, now))
            case _:
                raise self._failure(split, bad.ordinals[0].as_py(), bad.errors[0].as_py())

    def _letters(self, split: SplitId, bad: Bad, now: datetime) -> pa.RecordBatch:
        count = len(bad.ordinals)
        records = json_rows(bad.rows) if bad.records is None else bad.records
        kept = pa.array([stream_of(bad.rows)], pa.large_binary())
        first_of_all = pa.repeat(pa.scalar(0, pa.int32()), count)
        filled = [
            pa.repeat(pa.scalar(self._step, pa.string()), count),
            pa.repeat(pa.scalar(str(split), pa.string()), count),
            bad.ordinals.cast(pa.int64()),
            records.cast(pa.large_string()),
            bad.errors.cast(pa.large_string()),
            pa.repeat(pa.scalar(now, pa.timestamp("us", tz="UTC")), count),
            pa.repeat(pa.scalar(bad.input, pa.string()), count),
            pa.DictionaryArray.from_arrays(first_of_all, kept),
            pa.array(range(count) if bad.records is None else [NO_ROW] * count, pa.int64()),
        ]
        return pa.record_batch(filled, schema=LETTERS)

    def _failure(self, split: SplitId, ordinal: int, error: str) -> Rejected:
        return Rejected(
            f"record {ordinal} of {split!r}: {error[:ERROR_SHOWN_MAX]}; set onError to skip or"
            " dead-letter to go on without such records",
            code=Code.RECORD_REJECTED,
            field=self._step,
        )


def stream_of(batch: pa.RecordBatch) -> bytes:
    """Return a batch as an Arrow stream of its own."""
    sink = BytesIO()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def _visible(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.select([name for name in batch.schema.names if name not in HIDDEN])
