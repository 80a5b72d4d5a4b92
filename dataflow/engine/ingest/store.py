"""A log on disk: a folder of segments. Everything here blocks and is called in threads.

One thread at a time calls ``open``, ``append`` and ``close``; readers run beside it. They see
``segments`` as a whole, since it is replaced and never changed, and of a file only what its
``size`` says is synchronised.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from dataflow.core.errors import Code, Corrupted, Unavailable
from dataflow.durable import sync_path
from dataflow.engine.ingest import frame
from dataflow.engine.ingest.frame import Batch
from dataflow.engine.ingest.segment import (
    SUFFIX,
    UNFINISHED,
    Segment,
    create,
    load,
    recover,
    write,
)
from dataflow.engine.ingest.window import Taken, Window

SEGMENT_BYTES = 64 << 20
"""What is read at an open at most, and kept at most though it is decided: 30 ms and little."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class Store:
    """The segments of one pipeline's log, the last of which is open for writing."""

    def __init__(self, folder: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        self._folder = folder
        self._segment_bytes = segment_bytes
        self._descriptor = -1
        self._torn = False
        self._changing = threading.Lock()
        self.segments: tuple[Segment, ...] = ()
        self.window = Window()
        self.end = 0

    @property
    def schema(self) -> bytes | None:
        """Return the schema of all records, as Arrow's IPC has it; None before the first."""
        return self.segments[-1].schema if self.segments else None

    @property
    def first(self) -> int:
        """Return the offset of the first record that is still there."""
        return self.segments[0].first if self.segments else 0

    def forgotten(self) -> int:
        """See ``LogStore``."""
        return self.first

    def bytes_from(self, offset: int) -> int:
        """Return how many bytes records from ``offset`` on take, to some 64 KiB."""
        segments = self.segments
        total = 0
        for index, segment in enumerate(segments):
            last = index + 1 == len(segments)
            if offset >= (self.end if last else segments[index + 1].first):
                continue
            inside = offset > segment.first
            total += segment.size - (segment.near(offset) if inside else segment.begin)
        return total

    def open(self) -> None:
        """Find what is there, and cut off what a crash left half-written.

        Raises:
            Corrupted: what was acknowledged is damaged.
            Unavailable: the folder cannot be read and written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for unfinished in self._folder.glob(f"*{UNFINISHED}"):
                unfinished.unlink()
            segments = [load(path) for path in sorted(self._folder.glob(f"*{SUFFIX}"))]
            if segments:
                self._recover(segments)
                sync_path(self._folder)
        except OSError as error:
            raise unavailable(error, self._folder) from error

    def append(self, batches: Sequence[Batch], schema: bytes) -> Sequence[Taken]:
        """Write batches behind one another, and return when they are synchronised.

        Raises:
            Unavailable: nothing of any batch was taken.
        """
        try:
            self._ready(schema)
        except OSError as error:
            raise unavailable(error, self._folder) from error
        segment = self.segments[-1]
        pieces: list[bytes] = []
        taken: list[Taken] = []
        places: list[tuple[int, int]] = []
        offset, at = self.end, segment.size
        for batch in batches:
            written = frame.encode(batch, offset, segment.size, segment.salt)
            taken.append(Taken(batch.digest, offset, batch.records))
            places.append((offset, at))
            pieces += written
            offset, at = offset + batch.records, at + sum(map(len, written))
        try:
            write(self._descriptor, b"".join(pieces), segment.size)
            os.fsync(self._descriptor)
        except OSError as error:
            self._roll_back(segment)
            raise unavailable(error, segment.path) from error
        # AFTER the fsync: readers and answers may now see it.
        for batch, result, place in zip(batches, taken, places, strict=True):
            segment.mark(*place)
            self.window.add(batch.batch_id, result)
        segment.size, self.end = at, offset
        return taken

    def cut(self, below: int) -> None:
        """Delete the segments that hold nothing from ``below`` on; the last one stays.

        Raises:
            Unavailable: a file cannot be deleted; the next call tries again.
        """
        while True:
            with self._changing:
                if len(self.segments) < 2 or self.segments[1].first > below:  # noqa: PLR2004 - the next one
                    return
                try:
                    self.segments[0].path.unlink(missing_ok=True)
                except OSError as error:
                    raise unavailable(error, self.segments[0].path) from error
                self.segments = self.segments[1:]

    def close(self) -> None:
        """Release the file; everything in it is synchronised."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _recover(self, segments: Sequence[Segment]) -> None:
        last = segments[-1]
        self.window.unpack(last.window)
        self.end = last.first
        for found in recover(last):
            self.window.add(found.batch_id, Taken(found.digest, found.first, found.records))
            self.end = found.next_offset
        for one, other in pairwise(segments):
            if one.schema != other.schema:
                raise Corrupted(f"{other.path}: its schema is not that of {one.path.name}")
        self._descriptor = os.open(last.path, os.O_WRONLY | os.O_CLOEXEC)
        self.segments = tuple(segments)

    def _ready(self, schema: bytes) -> None:
        """Have a segment that can be written, a new one if the last is full."""
        if self._torn:
            self._truncate(self.segments[-1])
        if self.segments and self.segments[-1].size < self._segment_bytes:
            return
        made = create(self._folder, self.end, schema, self.window.pack())
        if not self.segments:
            # The folder of all logs may be as new as that of this one.
            for above in (self._folder.parent, self._folder.parent.parent):
                sync_path(above)
        self.close()
        self._descriptor = os.open(made.path, os.O_WRONLY | os.O_CLOEXEC)
        with self._changing:
            self.segments = (*self.segments, made)

    def _roll_back(self, segment: Segment) -> None:
        """Take a half-written group back; where that fails, BEFORE the next write."""
        self._torn = True
        with suppress(OSError):
            self._truncate(segment)

    def _truncate(self, segment: Segment) -> None:
        os.ftruncate(self._descriptor, segment.size)
        self._torn = False


def unavailable(error: OSError, path: Path) -> Unavailable:
    """Return what an error of the system means for whoever pushes."""
    if error.errno in _FULL:
        why = "the disk is full; make room"
    else:
        why = f"{error.strerror}; this user must be able to read and write it"
    return Unavailable(f"{path}: {why}; nothing of the batch was taken", code=Code.STORAGE)
