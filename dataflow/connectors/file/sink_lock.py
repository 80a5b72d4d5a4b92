"""One writer at a time, and never an older run after a newer one.

``flock`` tells living writers apart. The record inside outlives its writer: a run that slept
through its successor's whole life finds a larger run there and stops before it cuts anything.

Why ``flock`` and not ``fcntl``: its lock is of the open file, so two runs in one process keep each
other out, and closing another descriptor of the file does not drop it; POSIX locks are of the
process and fail at both (fcntl(2), "Advisory record locking"). Between processes of a machine it
holds on every local file system. Between machines it holds on NFSv4: since Linux 2.6.12 the client
asks the server for a lock of the whole file, which is why it is opened for writing (flock(2),
"NFS details"). There it ends with the client's lease if the machine is gone, and not before: a
mount with ``local_lock=flock`` or of NFSv3 with ``nolock`` tells nobody, and must not be
``shared``. CephFS and GFS2 keep it between machines too.

Everywhere it ends with its process, frozen or not, and never sooner: a frozen writer may wake up
in the middle of a write. Who waits for it is told, and waits until it is killed or goes on.
"""

from __future__ import annotations

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from dataflow.connect import Fenced, Model, Task, Unavailable, make_folder
from dataflow.connectors.file.write_file import MODE, failures_of

RECORD_BYTES_MAX = 512
"""A sector: written by one call, so that a killed writer leaves it whole."""


class Holder(Model):
    """Who wrote last."""

    pipeline: str
    run: int


class Lock:
    """A hidden file beside the output, locked from ``open`` to ``close``.

    Args:
        path: of the hidden file.
        output: what people know, and errors name.
    """

    def __init__(self, path: Path, output: Path) -> None:
        self.path = path
        self._output = output
        self._fd = -1

    @property
    def held(self) -> bool:
        """Tell whether it is ours."""
        return self._fd >= 0

    def take(self) -> bool:
        """Lock it if nobody else has; tell whether it is ours."""
        if self.held:
            return True
        with failures_of(self._output):
            make_folder(self.path.parent)
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(fd)
                return False
            if not self._is_there(fd):  # its last holder removed it before we had it
                os.close(fd)
                return False
        self._fd = fd
        return True

    def refusal(self, task: Task) -> Unavailable:
        """Return the error of a lock that somebody else does not let go."""
        holder = None
        with suppress(OSError):
            holder = _holder_in(self.path.read_bytes()[:RECORD_BYTES_MAX])
        if holder and holder.pipeline != task.pipeline:
            return Unavailable(
                f"{self._output}: another writer holds it, pipeline {holder.pipeline!r};"
                " stop that one, or write somewhere else"
            )
        return Unavailable(f"{self._output}: another writer holds {self.path}; it is tried again")

    def claim(self, task: Task) -> Holder | None:
        """Put our run down as the one that writes; return who wrote before.

        Raises:
            Fenced: a larger run of the pipeline has written.
        """
        with failures_of(self._output):
            before = self.holder()
            if before and before.pipeline == task.pipeline and before.run > task.run:
                raise Fenced(f"{self.path}: run {before.run} has written after run {task.run}")
            record = Holder(pipeline=task.pipeline, run=task.run).model_dump_json()
            os.pwrite(self._fd, record.encode().ljust(RECORD_BYTES_MAX), 0)
        return before

    def holder(self) -> Holder | None:
        """Return who wrote last; None if nobody did, or if a power cut took the record.

        No writer survives a power cut, so there is nobody left whom the record could stop.
        """
        return _holder_in(os.pread(self._fd, RECORD_BYTES_MAX, 0))

    def release(self, *, remove: bool = False) -> None:
        """Let the next writer in; ``remove`` where no run needs to be remembered."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        try:
            if remove:  # BEFORE unlocking, or it could be somebody else's by then
                with failures_of(self._output):
                    self.path.unlink(missing_ok=True)
        finally:
            os.close(fd)

    def _is_there(self, fd: int) -> bool:
        try:
            return os.path.samestat(os.fstat(fd), self.path.stat())
        except FileNotFoundError:
            return False


def _holder_in(record: bytes) -> Holder | None:
    try:
        return Holder.model_validate_json(record)
    except ValidationError:
        return None
