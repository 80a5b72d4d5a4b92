"""Memory that a process of a ``python`` step shares with the platform: one copy each way.

A batch is written as an Arrow stream to where the function reads it in place. Its result is copied
out BEFORE it is looked at: nothing that the function does later can change rows that were checked.
Both are sealed to their size, or a process that cuts them would end the platform by SIGBUS.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pyarrow as pa

from dataflow.connect import Unavailable
from dataflow.transforms.python.working import ARENA_MIN, written

if TYPE_CHECKING:
    from collections.abc import Sequence

F_SEAL_FUTURE_WRITE = 0x10
"""Of fcntl(2), since Linux 5.1: who is handed the memory can only read it."""

SIZED = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW


class Given:
    """What the platform writes. The same memory serves for each batch, and grows."""

    def __init__(self) -> None:
        self._buffer: pa.Buffer | None = None

    def write(self, batch: pa.RecordBatch) -> tuple[int, Sequence[int]]:
        """Write a batch; returns its length, and the memory if it is new, for its taker to close.

        Raises:
            Unavailable: there is no memory.
        """
        if self._buffer is not None:
            with suppress(OSError):  # it does not fit
                return written(batch, pa.FixedSizeBufferWriter(self._buffer)), ()
        fd, self._buffer = _made(written(batch, pa.MockOutputStream()))
        return written(batch, pa.FixedSizeBufferWriter(self._buffer)), (fd,)

    def leave(self) -> None:
        """Write the next batch somewhere else: the function keeps rows of this one."""
        self._buffer = None


class Returned:
    """What the function's process writes."""

    def __init__(self) -> None:
        self._memory: mmap.mmap | None = None

    def take(self, fd: int) -> None:
        """Read from new memory from now on.

        Raises:
            ValueError: it could be cut under whoever reads it.
        """
        try:
            if fcntl.fcntl(fd, fcntl.F_GET_SEALS) & SIZED != SIZED:
                raise ValueError("the memory is not sealed")
            self._memory = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
        finally:
            os.close(fd)

    def read(self, length: int) -> pa.RecordBatch:
        """Return a copy of the batch that was written.

        Raises:
            ValueError: there is none, or it is damaged.
        """
        if self._memory is None or not 0 < length <= len(self._memory):
            raise ValueError("there is no batch")
        copy = pa.allocate_buffer(length)
        with memoryview(self._memory) as memory:
            memoryview(copy).cast("B")[:] = memory[:length]
        batch = pa.ipc.open_stream(copy).read_next_batch()
        batch.validate(full=True)
        return batch


def _made(size: int) -> tuple[int, pa.Buffer]:
    size = max(ARENA_MIN, 1 << size.bit_length())
    fd = os.memfd_create("dataflow-batch", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.posix_fallocate(fd, 0, size)
        memory = mmap.mmap(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SIZED)
        with suppress(OSError):  # an older system: the function could write there
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, F_SEAL_FUTURE_WRITE)
    except OSError as error:
        os.close(fd)
        why = os.strerror(error.errno or errno.ENOMEM)
        raise Unavailable(f"{size} bytes to share a batch in: {why}") from error
    return fd, pa.py_buffer(memory)
