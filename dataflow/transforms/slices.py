"""Many small or few huge pieces as batches of a bounded size, made when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from dataflow.connect import Output, Rejected
from dataflow.connect.transform import MAIN

SLICE_ROWS = 1 << 16
"""Rows of one batch that is made: enough to be worth its calls, and few MiB."""


class Slices:
    """What is left of the answer to one call, for ``Operator.rest``."""

    def __init__(self) -> None:
        self._pieces: Iterator[pa.RecordBatch] | None = None

    def begin(self, pieces: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        """Return the first batch of some pieces, of which none holds more than ``SLICE_ROWS``."""
        if self._pieces is not None:
            raise Rejected("rows were left behind: rest was not asked for", code="INTERNAL")
        self._pieces = pieces
        return self._next()

    def rest(self) -> Output | None:
        """Return the next batch, None behind the last."""
        made = self._next() if self._pieces is not None else None
        return None if made is None else Output({MAIN: made}, produced=made.num_rows)

    def _next(self) -> pa.RecordBatch | None:
        assert self._pieces is not None  # noqa: S101 - both callers have seen to it
        held: list[pa.RecordBatch] = []
        rows = 0
        for piece in self._pieces:
            if piece.num_rows:
                held.append(piece)
                rows += piece.num_rows
            if rows >= SLICE_ROWS:
                break
        else:
            self._pieces = None
        return together(held) if held else None


def together(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Return batches of one schema as one."""
    if len(batches) == 1:
        return batches[0]
    made: pa.RecordBatch = pa.concat_batches(batches)  # type: ignore[attr-defined]  # not in the stubs
    return made
