"""One file of a log: a header, then frames. Named by the offset of its first record.

A segment appears under its name whole, header and all, by rename after fsync. The header carries
the schema and the window of batch ids on, so neither is lost when older segments are deleted.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

import xxhash

from dataflow.core.errors import Corrupted
from dataflow.durable import sync_path
from dataflow.engine.ingest import frame
from dataflow.engine.ingest.frame import Damaged, Frame, padding

SUFFIX, UNFINISHED = ".log", ".new"

MARK_EVERY_BYTES: Final = 64 << 10
"""How exactly a place is known without reading: a thousand marks for a full segment."""

_HEADER: Final = struct.Struct("<8sQQII")
_MAGIC: Final = b"DFINGST1"
_READ_BYTES = 1 << 20


@dataclass
class Segment:
    """A file and how far it holds. ``size`` counts bytes that are synchronised, and no others."""

    path: Path
    first: int
    salt: int
    begin: int
    size: int
    schema: bytes
    window: bytes
    marks: list[tuple[int, int]] = field(default_factory=list)
    """Offsets of records and where their frames begin; sparse, ascending."""

    def mark(self, offset: int, at: int) -> None:
        """Remember where a frame begins, if the last place remembered is far enough."""
        if not self.marks or at - self.marks[-1][1] >= MARK_EVERY_BYTES:
            self.marks.append((offset, at))

    def near(self, offset: int) -> int:
        """Return where a frame begins at or before that of a record."""
        index = bisect_right(self.marks, (offset, self.size))
        return self.marks[index - 1][1] if index else self.begin


def create(folder: Path, first: int, schema: bytes, window: bytes) -> Segment:
    """Make an empty segment; durable on return.

    Raises:
        OSError: nothing is left behind but a file that the next open removes.
    """
    path = folder / f"{first:020d}{SUFFIX}"
    body = schema + window
    body += padding(len(body))
    about = (first, len(schema), len(window))
    salt = xxhash.xxh64_intdigest(struct.pack("<QII", *about) + body)
    header = _HEADER.pack(_MAGIC, salt, *about) + body
    unfinished = path.with_suffix(UNFINISHED)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    try:
        write(descriptor, header, 0)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    unfinished.rename(path)
    sync_path(folder)
    return Segment(path, first, salt, len(header), len(header), schema, window)


def write(descriptor: int, data: bytes, at: int) -> None:
    """Write all of ``data``; a call to the system may write less than it was given."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, at)
        view, at = view[written:], at + written


def load(path: Path) -> Segment:
    """Read a segment's header. Its size is the file's: right for every segment but the last.

    Raises:
        Corrupted: the header is not what was written.
    """
    with path.open("rb") as file:
        head = file.read(_HEADER.size)
        if len(head) == _HEADER.size:
            magic, salt, first, schema, window = _HEADER.unpack(head)
            length = schema + window
            length += len(padding(length))
            size = os.fstat(file.fileno()).st_size
            body = file.read(length) if magic == _MAGIC and length <= size else b""
            if body and xxhash.xxh64_intdigest(head[16:] + body) == salt:
                at = _HEADER.size + length
                split = body[:schema], body[schema : schema + window]
                return Segment(path, first, salt, at, size, *split)
    raise Corrupted(
        f"{path}: the head of the file, at byte 0, is damaged; restore it from a backup, or remove"
        " it and replay the pipeline if its records may be lost"
    )


def recover(segment: Segment) -> Iterator[Frame]:
    """Yield the frames of a log's last segment, and cut off a torn tail, durably.

    A crash tears only what was written since the last fsync, and nothing of that had been
    acknowledged. Damage to the very last write looks the same and is cut too: a position beyond
    the end then shows it.

    Raises:
        Corrupted: what is damaged had been synchronised, for a later frame says so.
    """
    length, at, offset = segment.size, segment.begin, segment.first
    with segment.path.open("rb", buffering=_READ_BYTES) as file:
        file.seek(at)
        while at < length:
            try:
                found = _next(file, segment.salt, offset)
            except Damaged as damage:
                file.seek(at)
                if _synchronised_beyond(file.read(), at, segment.salt):
                    raise damaged(segment.path, at, offset, str(damage)) from damage
                break
            segment.mark(offset, at)
            at, offset = at + found.size, found.next_offset
            yield found
    # What a killed process wrote may be in memory only, and is about to count as durable.
    _synchronise(segment.path, at)
    segment.size = at


def damaged(path: Path, at: int, offset: int, why: str) -> Corrupted:
    """Return the error for damage to what had been acknowledged."""
    return Corrupted(
        f"{path}: damaged at byte {at}, before record {offset}: {why}; restore the file from a"
        " backup"
    )


def _next(file: BinaryIO, salt: int, offset: int) -> Frame:
    head = file.read(frame.FIXED.size)
    size, _, _ = frame.size_of(head)
    found = frame.decode(memoryview(head + file.read(size - len(head))), salt)
    if found.first != offset:
        raise Damaged(f"the batch is numbered {found.first}")
    return found


def _synchronised_beyond(data: bytes, at: int, salt: int) -> bool:
    """Tell whether a frame in ``data``, which begins at ``at``, was written after its beginning."""
    place = data.find(frame.MAGIC)
    while place >= 0:
        with suppress(Damaged):
            if frame.decode(memoryview(data)[place:], salt).group > at:
                return True
        place = data.find(frame.MAGIC, place + 1)
    return False


def _synchronise(path: Path, size: int) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.ftruncate(descriptor, size)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
