"""The program of a worker process: begun by a node, never by hand."""

from __future__ import annotations

import ctypes
import faulthandler
import signal
import sys
from collections.abc import Callable
from typing import TextIO

from dataflow.app.builtin import registry
from dataflow.app.clock import SystemClock
from dataflow.app.contexts import Contexts, Paths, Secrets
from dataflow.app.kafka import log_of
from dataflow.app.logs import configure
from dataflow.app.memory import share_free_memory
from dataflow.app.object_store import objects_of
from dataflow.app.settings import Settings
from dataflow.connect import Log
from dataflow.core.ids import PipelineId
from dataflow.engine.processes.child import Parts, serve, taken_over
from dataflow.engine.processes.messages import Begin

PR_SET_PDEATHSIG = 1
"""Of prctl(2)."""


class Unsaying:
    """A stream that is rid of secrets: what a worker says last is shown with an error."""

    def __init__(self, stream: TextIO, secrets: Secrets) -> None:
        self._stream = stream
        self._secrets = secrets

    def write(self, text: str) -> int:
        """Write a text without what was filled in."""
        self._stream.write(self._secrets.hide(text))
        return len(text)

    def flush(self) -> None:
        """See ``io.IOBase``."""
        self._stream.flush()

    def isatty(self) -> bool:
        """Lines go to the node."""
        return False


def parts(begin: Begin, log: Callable[[PipelineId], Log]) -> Parts:
    """Return what the settings of the node say."""
    settings = Settings.model_validate_json(begin.settings)
    clock, secrets = SystemClock(), Secrets()
    log = log_of(settings) or log
    sys.stderr = Unsaying(sys.stderr, secrets)
    configure("json")

    def probe(_: str) -> None:
        """Do nothing: between two effects that must not swap, tests die instead."""

    return Parts(
        registry=registry(),
        contexts=Contexts(
            clock, Paths(settings.file_roots), log, probe, secrets, settings.python == "allowed"
        ),
        objects=objects_of(settings),
        clock=clock,
        probe=probe,
        hide=secrets.hide,
    )


def begin(make: Callable[[Begin, Callable[[PipelineId], Log]], Parts]) -> None:
    """Be a worker process until the node says otherwise, or is gone.

    Signals for the whole group are the node's to act on: it closes last checkpoints first. They are
    ignored, and blocked in every thread that is begun from here: Polars takes SIGINT for itself
    while it works, whatever was said to ignore it.
    """
    import uvloop

    try:
        end = taken_over()
    except OSError:
        sys.exit("a worker process is begun by a node, never by hand")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    die_with_parent()
    faulthandler.enable()
    share_free_memory()
    uvloop.run(serve(end, make))


def die_with_parent() -> None:
    """Have the system kill this process with its parent, where it can.

    The end of the socket suffices; but a thread sees it only when Python's lock is free.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    begin(parts)
