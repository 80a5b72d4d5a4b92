"""Ends private servers when the process that started them has ended, even by SIGKILL.

A process of its own reads identities from a pipe, and kills them all once the pipe closes, which
the system does for a process that ended in whatever way. A signal on the death of the parent
would not do: Linux sends it when the *thread* that started the server ends.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict

from deploy.stack.identity import Identity, tree

_keepers: dict[int, subprocess.Popen[bytes]] = {}
"""Process -> its keeper: a forked process makes one of its own."""


def watch(server: Identity) -> None:
    """Have a server killed once this process ends."""
    keeper = _keepers.get(os.getpid()) or _start()
    assert keeper.stdin is not None  # noqa: S101 - it was asked for
    keeper.stdin.write(json.dumps(asdict(server)).encode() + b"\n")
    keeper.stdin.flush()


def keep(lines: Iterable[str]) -> None:
    """Read identities until there are no more, then kill those that still run."""
    servers = [Identity(**json.loads(line)) for line in lines]
    for process in [process for server in servers for process in tree(server)]:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)


def _start() -> subprocess.Popen[bytes]:
    keeper = subprocess.Popen(
        [sys.executable, "-c", f"import sys; from {__name__} import keep; keep(sys.stdin)"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    _keepers[os.getpid()] = keeper
    atexit.register(_finish)
    return keeper


def _finish() -> None:
    if keeper := _keepers.pop(os.getpid(), None):
        keeper.communicate()  # closes the pipe, and waits until all are killed
