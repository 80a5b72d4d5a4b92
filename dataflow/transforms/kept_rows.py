"""Rows that a step keeps, each by a number: its place among those that are kept.

Batches as they came, the later ones merged into larger ones: a row is copied about once each time
that what is kept doubles, and rows are taken from few pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataflow.connect import Rejected
from dataflow.connect.batches import empty, one_batch

Numbers: TypeAlias = npt.NDArray[np.int64]

_PIECE_BYTES_MAX = 1 << 26
"""Larger pieces are not merged; Arrow's offsets of short texts end at 2 GiB."""

_SETTLED_BYTES_MAX = 1 << 30
"""Well below that end, and what is copied at once."""


class KeptRows:
    """Rows of one schema, numbered from 0 in the order in which they came."""

    def __init__(self) -> None:
        self._pieces: list[pa.RecordBatch] = []
        self._sizes: list[int] = []
        self._rows = 0

    def __len__(self) -> int:
        return self._rows

    @property
    def nbytes(self) -> int:
        """Return the bytes that they take."""
        return sum(self._sizes)

    @property
    def schema(self) -> pa.Schema | None:
        """Return the schema of the rows, None where there has not been a batch."""
        return self._pieces[0].schema if self._pieces else None

    def add(self, batch: pa.RecordBatch) -> Numbers:
        """Keep rows; returns their numbers.

        Raises:
            Rejected: their columns are not those of the rows before.
        """
        if self._pieces and not self._pieces[0].schema.equals(batch.schema):
            raise Rejected(
                f"the columns were {_said(self._pieces[0].schema)} before, and are"
                f" {_said(batch.schema)} now; this step keeps rows of one kind",
                code="SOURCE_CHANGED",
            )
        if self._pieces and not self._rows:
            self._pieces, self._sizes = [], []
        self._pieces.append(batch)
        self._sizes.append(batch.nbytes)
        self._merge()
        first, self._rows = self._rows, self._rows + batch.num_rows
        return np.arange(first, self._rows)

    def take(self, numbers: Numbers) -> pa.RecordBatch:
        """Return rows by their numbers, in that order; of at least one batch that was kept."""
        if len(self._pieces) == 1:
            return self._pieces[0].take(pa.array(numbers, pa.int64()))
        return one_batch(pa.Table.from_batches(self._pieces).take(pa.array(numbers, pa.int64())))

    def keep(self, numbers: Numbers) -> None:
        """Drop all but these rows, in ascending order, which are numbered anew from 0."""
        if not self._pieces:
            return
        kept, begin = list[pa.RecordBatch](), 0
        for piece in self._pieces:
            end = begin + piece.num_rows
            inside = numbers[np.searchsorted(numbers, begin) : np.searchsorted(numbers, end)]
            if len(inside) == piece.num_rows:
                kept.append(piece)
            elif len(inside):
                kept.append(piece.take(pa.array(inside - begin, pa.int64())))
            begin = end
        self._pieces = kept or [empty(self._pieces[0].schema)]
        self._sizes = [piece.nbytes for piece in self._pieces]
        self._rows = len(numbers)
        self._merge()

    def settle(self) -> None:
        """Put all in one piece, from which rows are taken at once, as no more are expected."""
        if len(self._pieces) > 1 and self.nbytes <= _SETTLED_BYTES_MAX:
            self._pieces = [_merged(self._pieces)]
            self._sizes = [self._pieces[0].nbytes]

    def _merge(self) -> None:
        """Merge the last pieces as long as they are of like size."""
        while len(self._pieces) > 1 and self._sizes[-2] <= 2 * self._sizes[-1]:
            if sum(self._sizes[-2:]) > _PIECE_BYTES_MAX:
                return
            merged = _merged(self._pieces[-2:])
            self._pieces[-2:], self._sizes[-2:] = [merged], [merged.nbytes]


def _merged(pieces: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    made: pa.RecordBatch = pa.concat_batches(pieces)  # type: ignore[attr-defined]  # not in the stubs
    return made


def _said(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name} {field.type}" for field in schema)
