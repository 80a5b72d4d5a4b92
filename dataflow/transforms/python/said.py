"""What a function prints: lines of the structured log, only so many a second."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock, Thread

import structlog

from dataflow.connect import Context

LINES_A_SECOND, LINE_BYTES_MAX = 20, 2_000
"""A function that prints a line a row would else fill the log, and the disk, of its node."""

READ_BYTES = 64 << 10

log = structlog.get_logger()


class Said:
    """Hears one step's function, in one process after the other.

    Args:
        context: of the step.
        hide: takes secrets out of a text.
    """

    def __init__(self, context: Context, hide: Callable[[str], str]) -> None:
        self._log = log.bind(pipeline=str(context.pipeline), step=context.step)
        self._clock = context.clock
        self._hide = hide
        self._lock = Lock()
        self._second = -1
        self._lines = 0
        self._dropped = 0

    def listen(self, pipe: int) -> None:
        """Read a pipe to its end, in a thread; closes it."""
        Thread(target=self._read, args=(pipe,), name="python-said", daemon=True).start()

    def tell(self, text: str) -> None:
        """Log a line, unless there were too many in this second already."""
        with self._lock:
            second = int(self._clock.steady())
            if second != self._second:
                self._second, self._lines = second, 0
                if self._dropped:
                    self._log.warning("the function said more", lines_dropped=self._dropped)
                    self._dropped = 0
            self._lines += 1
            if self._lines > LINES_A_SECOND:
                self._dropped += 1
                return
            self._log.info("the function said", line=self._hide(text)[:LINE_BYTES_MAX])

    def _read(self, pipe: int) -> None:
        rest = b""
        with os.fdopen(pipe, "rb", buffering=0) as stream:
            while read := stream.read(READ_BYTES):
                *lines, rest = (rest + read).split(b"\n")
                for line in lines:
                    self._hear(line)
                if len(rest) >= LINE_BYTES_MAX:
                    self._hear(rest)
                    rest = b""
        self._hear(rest)

    def _hear(self, line: bytes) -> None:
        if text := line[:LINE_BYTES_MAX].decode(errors="replace").rstrip():
            self.tell(text)
