"""One process a folder: a lock that the system takes away from a process that has died."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from dataflow.core.errors import Code, Unavailable
from dataflow.durable import make_folder

LOCK_FILE = "lock"


class FolderLock:
    """Holds ``flock`` on a file in the folder; the file names the process and stays behind."""

    def __init__(self, folder: Path) -> None:
        """Take the lock.

        Raises:
            Unavailable: ``BUSY`` while another process holds it; ``STORAGE`` when the folder
                cannot be written.
        """
        path = folder / LOCK_FILE
        try:
            make_folder(folder)
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise Unavailable(
                f"{path}: {error.strerror}; this user must be able to write the folder",
                code=Code.STORAGE,
            ) from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(self._descriptor, 32).decode().strip()
            os.close(self._descriptor)
            raise Unavailable(
                f"{folder} is in use by process {holder or 'unknown'}; stop it, or choose another"
                " data directory",
                code=Code.BUSY,
            ) from error
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let another process have the folder."""
        os.close(self._descriptor)
