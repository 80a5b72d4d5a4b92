"""The process of a ``sql`` step as the step sees it. Imports no Arrow and no DuckDB."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import suppress
from typing import IO, cast

from dataflow.connect import Unavailable
from dataflow.transforms.sql_link import Kind, Task, receive, send

PROGRAM = "dataflow.transforms.sql_program"

REAP_S = 5.0
"""For a process that was killed to be gone; one that waits for a broken disk is not."""


class SqlProcess:
    """Begun when it is first asked, and again when it has gone. Calls never overlap."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, kind: Kind, *payload: bytes | memoryview) -> tuple[Kind, bytes]:
        """Say something, and return what is said to it.

        Raises:
            Unavailable: it took too long and was ended, or has ended otherwise.
        """
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = self._begun()
        with suppress(BrokenPipeError):
            send(cast("IO[bytes]", self._process.stdin), kind, *payload)
            if reply := receive(cast("IO[bytes]", self._process.stdout)):
                return reply
        raise self._gone(self._process)

    def close(self) -> None:
        """End it, whatever it is doing."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()
        process.wait(REAP_S)

    def _begun(self) -> subprocess.Popen[bytes]:
        """Begin it without this process's environment, where secrets are."""
        command = [sys.executable, "-I", "-X", "utf8", "-m", PROGRAM, self._task.model_dump_json()]
        try:
            return subprocess.Popen(  # noqa: S603 - a program of ours
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={},
                process_group=0,  # an interrupt at the terminal is for whoever began this
            )
        except OSError as error:
            raise Unavailable(f"no process for SQL could begin: {error}") from error

    def _gone(self, process: subprocess.Popen[bytes]) -> Unavailable:
        status = process.wait(REAP_S)
        self.close()
        if status == -signal.SIGALRM:
            message = (
                f"the SELECT took longer than {self._task.time_s_max:g} s; make it cheaper, or"
            )
            return Unavailable(f"{message} give it more time", code="BATCH_TIMED_OUT")
        return Unavailable(f"the process for SQL ended with {status}", code="WORKER_LOST")
