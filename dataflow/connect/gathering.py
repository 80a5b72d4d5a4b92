"""Small batches, put together before a sink that writes at a price a call takes them."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

SMALL_BYTES = 1 << 16
"""Up to here a batch counts with the whole of the buffers that it may share with its neighbours:
Arrow tells that at once, and takes 18 us to tell what is the batch's own."""


class Gathered:
    """Batches that wait to be written as one, up to a number of rows or of bytes."""

    def __init__(self, rows_max: int, bytes_max: int) -> None:
        self._rows_max = rows_max
        self._bytes_max = bytes_max
        self._held: list[pa.RecordBatch] = []
        self._rows = self._bytes = 0

    def add(self, batch: pa.RecordBatch) -> Sequence[pa.RecordBatch]:
        """Hold a batch; returns what is to be written now, in order.

        That is what was held, once a batch has other columns, and all, once it is enough.
        """
        ready: list[pa.RecordBatch] = []
        if self._held and not self._held[0].schema.equals(batch.schema):
            ready += self.take()
        self._held.append(batch)
        self._rows += batch.num_rows
        self._bytes += size_of(batch)
        if self._rows >= self._rows_max or self._bytes >= self._bytes_max:
            ready += self.take()
        return ready

    def take(self) -> Sequence[pa.RecordBatch]:
        """Return all that is held as one batch, and hold nothing; nothing if nothing was."""
        held, self._held = self._held, []
        self._rows = self._bytes = 0
        return held if len(held) <= 1 else [pa.concat_batches(held)]  # type: ignore[attr-defined]  # not in the stubs


def size_of(batch: pa.RecordBatch) -> int:
    """Return the bytes of a batch in memory, or a little more."""
    size: int = batch.get_total_buffer_size()
    return size if size <= SMALL_BYTES else batch.nbytes
