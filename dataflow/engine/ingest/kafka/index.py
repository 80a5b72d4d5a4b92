"""What a log holds, from its index: batch ids, where records stand, the schema, the end.

    magic 4 | whole 1, padded to 8 | record 8 | offset 8 | bytes 8 | size 8 | lengths 4, 4, 4
    schema | window | marks

``record``, ``offset`` and ``bytes`` say where the log ended BEFORE the group, and ``size`` what the
group adds. A whole one stands for everything before it, so that it can be forgotten.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Mapping
from itertools import pairwise
from operator import attrgetter
from typing import Final, NamedTuple

from dataflow.core.errors import Corrupted
from dataflow.engine.ingest.window import Taken, Window

MARK_EVERY_BYTES: Final = 64 << 10
MARKS_MAX: Final = 8_192
"""Half a gigabyte at the finest; of longer logs every other is kept, and 200 KB are no load."""

_HEAD: Final = struct.Struct("<4sB3xQQQQIII")
_MAGIC: Final = b"DFK1"
_MARK: Final = struct.Struct("<QQQ")


class Mark(NamedTuple):
    """A record, the offset in Kafka from which it is found, and the bytes of all before it."""

    record: int
    offset: int
    bytes: int


class Index:
    """What has been read of an index, or written to it."""

    def __init__(self) -> None:
        self.window = Window()
        self.schema: bytes | None = None
        self.end = 0
        self.offset = 0
        """Where the next record will stand, or before; the reader of an index has it told."""
        self._bytes = 0
        self._marks: list[Mark] = []

    @property
    def _mark(self) -> Mark:
        return Mark(self.end, self.offset, self._bytes)

    def whole(self, schema: bytes) -> bytes:
        """Return all of it; from the first on a log has a schema."""
        marks = b"".join(_MARK.pack(*mark) for mark in self._marks)
        return self._encoded(schema, self.window.pack(), 0, marks)

    def group(self, batches: Mapping[str, Taken], size: int) -> bytes:
        """Return what a group of batches of ``size`` bytes adds."""
        window = Window(len(batches))
        for batch_id, taken in batches.items():
            window.add(batch_id, taken)
        return self._encoded(b"", window.pack(), size, None)

    def _encoded(self, schema: bytes, window: bytes, size: int, marks: bytes | None) -> bytes:
        more = b"" if marks is None else marks
        lengths = len(schema), len(window), len(more)
        return _HEAD.pack(_MAGIC, marks is not None, *self._mark, size, *lengths) + b"".join(
            (schema, window, more)
        )

    def apply(self, data: bytes) -> None:
        """Take note of what ``whole`` or ``group`` returned.

        Raises:
            Corrupted: it is neither, or does not follow what is known.
        """
        if len(data) < _HEAD.size or not data.startswith(_MAGIC):
            raise Corrupted("the index of an ingest log holds what is no entry of it")
        _, is_whole, record, offset, before, size, *lengths = _HEAD.unpack_from(data)
        ends = [_HEAD.size]
        for length in lengths:
            ends.append(ends[-1] + length)
        schema, window, marks = (data[a:b] for a, b in pairwise(ends))
        if is_whole:
            self.window, self.schema = Window(), schema
            self._marks = [Mark(*mark) for mark in _MARK.iter_unpack(marks)]
        elif record != self.end or self.schema is None:
            raise Corrupted(
                f"the index of an ingest log goes on at record {record}, and had come to {self.end}"
            )
        self.end, self.offset, self._bytes = record, offset, before
        taken = self.window.unpack(window)
        if not is_whole:
            self._remember(self._mark)
            self.end, self._bytes = record + taken, before + size

    def _remember(self, mark: Mark) -> None:
        if not self._marks or mark.bytes - self._marks[-1].bytes >= MARK_EVERY_BYTES:
            self._marks.append(mark)
        if len(self._marks) > MARKS_MAX:
            self._marks = self._marks[::2]

    def near(self, record: int) -> Mark:
        """Return a mark at or before a record; the record's own offset is at or behind it."""
        at = bisect_right(self._marks, record, key=attrgetter("record"))
        return self._marks[at - 1] if at else Mark(0, 0, 0)

    def bytes_from(self, record: int) -> int:
        """Return how many bytes records from one on take, to some 64 KiB."""
        return 0 if record >= self.end else self._bytes - self.near(record).bytes

    def forget(self, record: int) -> None:
        """Let go of marks that nobody needs once records before one are gone."""
        at = bisect_right(self._marks, record, key=attrgetter("record"))
        self._marks = self._marks[max(at - 1, 0) :]
