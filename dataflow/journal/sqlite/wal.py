"""Whether a write-ahead log that a crash left behind is whole.

SQLite reads such a file up to the first frame whose checksum fails and forgets the rest without a
word: right for a write that a power cut tore, but a damaged byte would take every acknowledged
commit behind it along. Each commit waits for the disk before the next is begun, so a torn write is
the last one: with two commits behind a bad frame, the frame was good once.

The format: sqlite.org/fileformat2.html, section 4.
"""

from __future__ import annotations

import struct
from pathlib import Path

from dataflow.core.errors import Corrupted

HEADER_BYTES, FRAME_HEADER_BYTES = 32, 24
PAGE_BYTES = 4096
"""Of every journal: SQLite's default, which nothing here changes."""

TORN_COMMITS_MAX = 1
_32_BITS = 0xFFFFFFFF


def check(wal: Path) -> None:
    """Check the file BEFORE SQLite opens it, for that may already throw the rest away.

    Raises:
        Corrupted: acknowledged commits stand behind a damaged frame.
    """
    content = memoryview(wal.read_bytes() if wal.exists() else b"")
    if len(content) < HEADER_BYTES:
        return
    size = FRAME_HEADER_BYTES + PAGE_BYTES
    frames = [
        content[start : start + size]
        for start in range(HEADER_BYTES, len(content) - size + 1, size)
    ]
    good = _good_frames(content[:HEADER_BYTES], frames)
    salts = content[16:24]
    lost = sum(frame[8:16] == salts and frame[4:8] != bytes(4) for frame in frames[good:])
    if lost > TORN_COMMITS_MAX:
        raise Corrupted(
            f"{wal}: frame {good + 1} is damaged and {lost} acknowledged commits stand behind it;"
            " restore it from a backup"
        )


def _good_frames(header: memoryview, frames: list[memoryview]) -> int:
    """Return how many frames SQLite would read."""
    order = ">" if header[3] & 1 else "<"
    sums = _checksum(header[:24], (0, 0), order)
    if sums != struct.unpack(">2I", header[24:32]):
        return 0
    for number, frame in enumerate(frames):
        sums = _checksum(frame[:8], sums, order)
        sums = _checksum(frame[FRAME_HEADER_BYTES:], sums, order)
        if frame[8:16] != header[16:24] or sums != struct.unpack(">2I", frame[16:24]):
            return number
    return len(frames)


def _checksum(part: memoryview, sums: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(part) // 4}I", part)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & _32_BITS
        second = (second + odd + first) & _32_BITS
    return first, second
