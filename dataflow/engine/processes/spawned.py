"""A program begun beside this one: how it ends, and what it says on its standard error.

Two threads wait for it, one a pipe, so that neither the loop nor a pool of threads is held up.
"""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from threading import Thread

LINE_BYTES_MAX = 16 << 10
"""Of standard error; what is longer comes in pieces."""

LAST_LINES, LAST_CHARACTERS = 5, 2_000
"""What an error tells of the last that was said: the end of a traceback."""

REAP_S = 5.0
"""For a process that was killed to be gone; one that waits for a broken disk is not."""

LISTEN_S = 1.0
"""What was said last is in the pipe when the program has ended; another may hold the pipe open."""


class Spawned:
    """A running program. Its standard input is one end of a socket, its output is ours."""

    def __init__(self, command: Sequence[str], said: Callable[[str], None]) -> None:
        """Begin it.

        Raises:
            OSError: the system refuses.
        """
        self.end, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - a program of ours
                    command, stdin=theirs.fileno(), stderr=subprocess.PIPE
                )
            except OSError:
                self.end.close()
                raise
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._said = said
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._listening = Thread(target=self._listen, name="worker-stderr", daemon=True)
        self._waiting = Thread(target=self._wait, name="worker-wait", daemon=True)
        self._listening.start()
        self._waiting.start()

    @property
    def pid(self) -> int:
        """Return its process id."""
        pid: int = self._process.pid
        return pid

    def kill(self) -> None:
        """End it now; also one that is stopped."""
        if not self.ended.done():
            with suppress(ProcessLookupError):
                self._process.kill()

    async def last_words(self) -> str:
        """Return how it has ended, and what it said last."""
        ended, _ = await asyncio.wait({self.ended}, timeout=REAP_S)
        if not ended:
            return "was killed, and the system does not let it end"
        code = self.ended.result()
        await asyncio.to_thread(self._listening.join, LISTEN_S)
        how = f"exited with status {code}" if code >= 0 else f"was killed by {_name(-code)}"
        last = " | ".join(self._last)[-LAST_CHARACTERS:]
        return f"{how}; it said last: {last}" if last else how

    def _listen(self) -> None:
        stream = self._process.stderr
        if stream is None:
            return
        with stream:
            for line in iter(partial(stream.readline, LINE_BYTES_MAX), b""):
                if text := line.decode(errors="replace").rstrip():
                    self._last.append(text)
                    self._said(text)

    def _wait(self) -> None:
        code = self._process.wait()
        with suppress(RuntimeError):  # the loop is closed: nobody asks any more
            self.ended.get_loop().call_soon_threadsafe(self._has_ended, code)

    def _has_ended(self, code: int) -> None:
        if not self.ended.done():
            self.ended.set_result(code)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
