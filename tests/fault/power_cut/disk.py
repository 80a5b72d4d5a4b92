"""What a power cut leaves: of a file what was in it when it was synced, of a folder the names.

POSIX promises no more than that. Real file systems often keep more, so that only a record of the
syncs can tell whether there were enough.
"""

from __future__ import annotations

import os
from pathlib import Path


class Disk:
    """Watches ``os.fsync``; a name and what it names are synced apart."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._fsync = os.fsync
        self._contents: dict[int, bytes] = {}
        self._names: dict[int, dict[str, int]] = {}

    def fsync(self, descriptor: int) -> None:
        """Sync, and remember what is safe from now on."""
        self._fsync(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        inode = path.stat().st_ino
        if path.is_dir():
            self._names[inode] = {entry.name: entry.inode() for entry in os.scandir(path)}
        else:
            self._contents[inode] = path.read_bytes()

    def left_of(self, path: Path) -> bytes | None:
        """Return what a power cut now would leave of a file; None if it would not be found."""
        inode = self._root.stat().st_ino
        for name in path.relative_to(self._root).parts:
            found = self._names.get(inode, {}).get(name)
            if found is None:
                return None
            inode = found
        return self._contents.get(inode, b"")

    def lost(self) -> list[str]:
        """Return which files that are there now a power cut would take or change."""
        files = (path for path in self._root.rglob("*") if path.is_file())
        return sorted(path.name for path in files if self.left_of(path) != path.read_bytes())
