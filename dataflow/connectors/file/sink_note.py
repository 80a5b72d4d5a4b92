"""Which parts were shown last: every run shows them again, and readers may have taken them by then.

The note is written AFTER the names that it speaks of are durable. Losing it is harmless: the parts
are looked for once more.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from dataflow.connect import make_folder, sync_path
from dataflow.connectors.file.sink_spec import FinishedPart
from dataflow.connectors.file.write_file import MODE, failures_of

NOTE = ".shown"
"""Ends the name of a note."""


class Note:
    """A hidden file of one pipeline and one output."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def is_of(self, parts: Sequence[FinishedPart]) -> bool:
        """Tell whether exactly these parts were shown last."""
        with suppress(OSError):
            return self._path.read_bytes() == _digest(parts)
        return False

    def write(self, parts: Sequence[FinishedPart]) -> None:
        """Remember durably that these were shown; a torn note is of nothing."""
        with failures_of(self._path):
            make_folder(self._path.parent)
            is_new = not self._path.exists()
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, MODE)
            try:
                os.write(fd, _digest(parts))
                os.fsync(fd)
            finally:
                os.close(fd)
            if is_new:
                sync_path(self._path.parent)

    def remove(self) -> None:
        """Forget them: another lineage may stage others under the same names."""
        with failures_of(self._path):
            self._path.unlink(missing_ok=True)


def _digest(parts: Sequence[FinishedPart]) -> bytes:
    """Return as many bytes for a thousand parts as for one. Stages are named by run and part."""
    names = "\n".join(f"{part.stage} {part.bytes}" for part in parts)
    return sha256(names.encode()).hexdigest().encode()
