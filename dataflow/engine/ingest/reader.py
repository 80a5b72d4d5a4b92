"""Reading a log from an offset. Everything here blocks and is called in threads; loads no Arrow."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from dataflow.core.errors import Corrupted, Rejected
from dataflow.engine.ingest import frame
from dataflow.engine.ingest.frame import Damaged, Frame
from dataflow.engine.ingest.segment import Segment, damaged
from dataflow.engine.ingest.store import unavailable

READ_BYTES = 4 << 20
"""Frames handed on at a time, unless one alone is larger; as much as a chunk of a file."""


class Held(Protocol):
    """What is durable of a log, as ``Store`` has it, or as it is told to another process."""

    @property
    def segments(self) -> Sequence[Segment]:
        """Return its files in order; their sizes grow, and the sequence is replaced."""
        ...

    @property
    def first(self) -> int:
        """Return the offset of the first record that is still there."""
        ...

    @property
    def end(self) -> int:
        """Return the offset of the record that will be next."""
        ...


class Reader:
    """Walks over the frames of a store, from the one that holds ``start``, as they become durable.

    A segment it has opened stays readable though it be deleted meanwhile.
    """

    def __init__(self, store: Held, start: int) -> None:
        self._store = store
        self._start = start
        self._offset = start
        self._segment: Segment | None = None
        self._descriptor = -1
        self._at = 0

    def next(self) -> Sequence[Frame]:
        """Return the next frames; none if there are no more yet. The first may begin before start.

        Raises:
            Rejected: records from ``start`` on have been forgotten.
            Corrupted: the log ends before ``start``, or a batch is damaged.
            Unavailable: the file cannot be read at the moment.
        """
        try:
            if not self._find():
                return ()
            return self._frames()
        except OSError as error:
            raise unavailable(error, Path(error.filename or "the ingest log")) from error

    def close(self) -> None:
        """Release the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _find(self) -> bool:
        """Have the segment open that holds the next record; tell whether there is one."""
        segments = self._store.segments
        if self._segment is None:
            self._refuse_beyond_the_ends(segments)
            holding = [segment for segment in segments if segment.first <= self._start]
            if not holding:
                return False
            self._enter(holding[-1])
            self._seek(holding[-1])
        current = self._segment
        if current is None or self._at < current.size:
            return current is not None
        later = [segment for segment in segments if segment.first > current.first]
        if not later:
            return False
        if later[0].first != self._offset:
            raise damaged(current.path, self._at, self._offset, "batches are missing")
        self._enter(later[0])
        return self._at < later[0].size

    def _refuse_beyond_the_ends(self, segments: Sequence[Segment]) -> None:
        first, end = self._store.first, self._store.end
        if self._start < first:
            raise Rejected(
                f"records {self._start} to {first - 1} of the ingest log are gone: their effects"
                " were decided; replay from the beginning reads what is left"
            )
        if self._start > end:
            where = segments[-1].path if segments else "the ingest log"
            raise Corrupted(
                f"{where} ends before record {end}, and the pipeline has read to record"
                f" {self._start}; restore the log from a backup"
            )

    def _enter(self, segment: Segment) -> None:
        self.close()
        self._descriptor = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        self._segment, self._at, self._offset = segment, segment.begin, segment.first

    def _seek(self, segment: Segment) -> None:
        """Pass over frames that end at or before the start."""
        at = segment.near(self._start)
        while at < segment.size:
            head = os.pread(self._descriptor, frame.FIXED.size, at)
            try:
                size, first, records = frame.size_of(head)
            except Damaged as damage:
                raise damaged(segment.path, at, self._start, str(damage)) from damage
            self._offset = first
            if first + records > self._start:
                break
            at, self._offset = at + size, first + records
        self._at = at

    def _frames(self) -> Sequence[Frame]:
        segment = self._segment
        if segment is None:
            return ()
        data = os.pread(self._descriptor, min(READ_BYTES, segment.size - self._at), self._at)
        try:
            size, _, _ = frame.size_of(data)
            if size > len(data):
                data = os.pread(self._descriptor, size, self._at)
            return self._decoded(memoryview(data), segment.salt)
        except Damaged as damage:
            raise damaged(segment.path, self._at, self._offset, str(damage)) from damage

    def _decoded(self, data: memoryview, salt: int) -> Sequence[Frame]:
        """Return the frames that ``data`` holds whole, at least one."""
        found: list[Frame] = []
        while data:
            try:
                one = frame.decode(data, salt)
            except Damaged:
                if found:
                    break  # cut by the end of what was read, or damaged: the next read tells
                raise
            if one.first != self._offset:
                raise Damaged(f"the batch is numbered {one.first}")
            found.append(one)
            data = data[one.size :]
            self._at, self._offset = self._at + one.size, one.next_offset
        return found
