"""One batch as it stands in a segment file: a frame.

    magic 4 | rest 4 | checksum 8 | first offset 8 | group 8 | records 4 | id length 4 | digest 16
    batch id, padded so that the body begins at a multiple of 8
    body: the rows as one Arrow IPC message

``rest`` counts the bytes after the fixed part. ``group`` is where in the file the write began
that the frame was part of: everything before it had been synchronised, which tells a torn tail
from damage. The checksum covers all but itself and is seeded with that of the segment's header,
so that bytes inside a record pass for a frame only by accident.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import xxhash

FIXED: Final = struct.Struct("<4sIQQQII16s")
MAGIC: Final = b"DFB1"
ALIGNMENT: Final = 8
"""Arrow reads its messages in place from addresses that are multiples of this."""

FRAME_BYTES_MAX: Final = 128 << 20
"""Twice what a batch may take as Arrow; a larger length is damage, and is not allocated."""

_CHECKED_FROM = 16  # past magic, rest and checksum


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that is ready to be written."""

    batch_id: str
    digest: bytes
    records: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Frame:
    """A batch that was read, and its place: records ``first`` to ``next_offset`` exclusive."""

    batch_id: str
    digest: bytes
    records: int
    first: int
    group: int
    size: int
    body: memoryview

    @property
    def next_offset(self) -> int:
        """Return the offset of the record after it."""
        return self.first + self.records


class Damaged(Exception):
    """The bytes are no frame; the text says why."""


def padding(length: int) -> bytes:
    """Return what fills ``length`` bytes up to the alignment."""
    return bytes(-length % ALIGNMENT)


def encode(batch: Batch, first: int, group: int, salt: int) -> tuple[bytes, bytes]:
    """Return a frame in two pieces, so that the body need not be copied."""
    name = batch.batch_id.encode()
    named = name + padding(len(name))
    rest = len(named) + len(batch.body)
    about = (first, group, batch.records, len(name), batch.digest)
    blank = FIXED.pack(MAGIC, rest, 0, *about)
    checksum = _checksum(salt, blank, named, batch.body)
    return FIXED.pack(MAGIC, rest, checksum, *about) + named, batch.body


def size_of(head: bytes | memoryview) -> tuple[int, int, int]:
    """Return size, first offset and records of the frame that begins so; unchecked but for shape.

    Raises:
        Damaged: no frame begins so.
    """
    if len(head) < FIXED.size:
        raise Damaged("it ends within the head of a batch")
    magic, rest, _, first, _, records, _, _ = FIXED.unpack_from(head)
    if magic != MAGIC or rest > FRAME_BYTES_MAX:
        raise Damaged("no batch begins here")
    return FIXED.size + rest, first, records


def decode(data: memoryview, salt: int) -> Frame:
    """Return the frame at the beginning of ``data``.

    Raises:
        Damaged: it is incomplete, or its checksum is not that of its bytes.
    """
    size, first, records = size_of(data)
    if size > len(data):
        raise Damaged("it ends within a batch")
    _, rest, checksum, _, group, _, length, digest = FIXED.unpack_from(data)
    begin = FIXED.size + length + len(padding(length))
    blank = FIXED.pack(MAGIC, rest, 0, first, group, records, length, digest)
    if begin > size or checksum != _checksum(salt, blank, data[FIXED.size : size]):
        raise Damaged("the checksum of a batch does not match its bytes")
    name = bytes(data[FIXED.size : FIXED.size + length]).decode()
    return Frame(name, digest, records, first, group, size, data[begin:size])


def _checksum(salt: int, blank: bytes, *pieces: bytes | memoryview) -> int:
    state = xxhash.xxh64(blank[:8] + blank[_CHECKED_FROM:], seed=salt)
    for piece in pieces:
        state.update(piece)
    return state.intdigest()
