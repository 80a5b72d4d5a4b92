"""The keeper of a ``python`` step's process; begun by ``process``, never by hand.

It forks the worker, which runs the function, and waits. When the worker has ended, when the
platform asks by closing its end of a socket, or when the platform is gone, which closes it too, it
kills the worker and all that the worker has begun, whatever group or session they have put
themselves into: orphans are handed to the keeper by the system. Then it ends. That is isolation
from mistakes, not from malice: it is no sandbox.
"""

from __future__ import annotations

import ctypes
import json
import os
import select
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from dataflow.transforms.python.working import serve

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
"""Of prctl(2)."""


def keep(work: int, watch: int, begin: int) -> None:
    """Fork a worker, and end it when it is time, with everything that it has begun."""
    prctl = ctypes.CDLL(None).prctl
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    platform = socket.socket(fileno=watch)
    keeper = os.getpid()
    worker = os.fork()
    if worker == 0:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(1)
        platform.close()
        os.setsid()
        serve(socket.socket(fileno=work), begin)
        return
    os.close(work)
    os.close(begin)
    platform.send(json.dumps({"worker": worker}).encode())
    until = select.poll()
    until.register(os.pidfd_open(worker), select.POLLIN)
    until.register(platform, select.POLLIN)
    until.poll()
    status = _end(worker)
    with suppress(OSError):  # nobody listens any more
        platform.send(json.dumps({"status": status}).encode())


def _end(worker: int) -> int:
    """Kill the worker's group, then whoever has left it, until nobody is left."""
    status = 0
    with suppress(ProcessLookupError):
        os.killpg(worker, signal.SIGKILL)
    while True:
        for child in _children():
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        try:
            ended, how = os.wait()
        except ChildProcessError:
            return status
        if ended == worker:
            status = os.waitstatus_to_exitcode(how)


def _children() -> list[int]:
    own = os.getpid()
    listed = Path(f"/proc/{own}/task/{own}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


if __name__ == "__main__":
    keep(*map(int, sys.argv[1:]))
