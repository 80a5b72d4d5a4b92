"""One file that grows at its end and can be cut, and what its failures mean."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from dataflow.connect import Corrupted, Rejected, Unavailable, sync_path

MODE = 0o644
"""Rows are for others to read; the process's umask takes away what it should."""

WRITE_BEHIND_BYTES = 4 << 20
"""Large enough for a disk to be quick, small enough for a sync to find little left."""

_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_MISNAMED = {
    errno.EEXIST,
    errno.EINVAL,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOTDIR,
}
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def failures_of(path: Path) -> Generator[None]:
    """Translate what the system says about ``path``: the one place that knows its errors."""
    try:
        yield
    except OSError as error:
        said = error.strerror or str(error)
        if error.errno in _FORBIDDEN:
            raise Rejected(
                f"{path}: {said}; let the server's user write there", code="PERMISSION"
            ) from error
        if error.errno in _MISNAMED:
            raise Rejected(f"{path}: {said}", field="connectionString") from error
        remedy = ""
        if error.errno in _FULL:
            remedy = (
                "; make room: it is tried again, until the pipeline has failed and needs a reset"
            )
        raise Unavailable(f"{path}: {said}{remedy}", code="STORAGE") from error


def size_of(path: Path) -> int:
    """Return the bytes of a regular file; 0 where there is none.

    Raises:
        Rejected: something else is there.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0
    if not stat.S_ISREG(found.st_mode):
        raise Rejected(f"{path} is no regular file", field="connectionString")
    return found.st_size


class GrowingFile:
    """Appends bytes; nothing before ``length`` ever changes.

    The disk begins with what is appended right away, so that a sync waits for the last bytes
    alone: 4 ms where it waited 45 ms for 100 MiB, each second.
    """

    def __init__(self, path: Path, fd: int, length: int) -> None:
        self.path = path
        self.length = length
        self._fd = fd
        self._durable = self._begun = length

    @classmethod
    def create(cls, path: Path) -> GrowingFile:
        """Create a file that does not exist, and make its name durable."""
        with failures_of(path):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
            try:
                sync_path(path.parent)
            except BaseException:
                os.close(fd)
                raise
        return cls(path, fd, 0)

    @classmethod
    def resume(cls, path: Path, length: int) -> GrowingFile:
        """Open a file and cut it back to ``length``.

        Raises:
            Corrupted: it is gone, or shorter than what was decided.
        """
        with failures_of(path):
            found = size_of(path)
            if found < length or not path.exists():
                raise Corrupted(
                    f"{path} has {found} bytes, but {length} are decided: put the file back,"
                    " or replay the pipeline"
                )
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            file = cls(path, fd, found)
            try:
                file.cut(length)
            except BaseException:
                os.close(fd)
                raise
        return file

    def append(self, data: bytes | memoryview) -> None:
        """Write behind everything else; a part of it may be there after an error."""
        rest = memoryview(data)
        with failures_of(self.path):
            while rest:
                written = os.pwrite(self._fd, rest, self.length)
                self.length += written
                rest = rest[written:]
            if self.length - self._begun >= WRITE_BEHIND_BYTES:
                self._write_behind()

    def _write_behind(self) -> None:
        """Let the disk begin: Linux writes what is to be dropped, and drops nothing unwritten."""
        size = self.length - self._begun
        os.posix_fadvise(self._fd, self._begun, size, os.POSIX_FADV_DONTNEED)
        self._begun = self.length

    def sync(self) -> None:
        """Return when everything appended survives a power cut."""
        if self.length != self._durable:
            with failures_of(self.path):
                os.fsync(self._fd)
            self._durable = self.length

    def cut(self, length: int) -> None:
        """Drop everything behind ``length``."""
        with failures_of(self.path):
            os.ftruncate(self._fd, length)
            os.fsync(self._fd)
        self.length = self._durable = self._begun = length

    def close(self) -> None:
        """Release the file as it is."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):  # everything that counts was synced before
                os.close(fd)
