"""How the process of a ``python`` step begins: what it is given, and what it must not see."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

KEEPER = "dataflow.transforms.python.program"


@dataclass(frozen=True, slots=True)
class Program:
    """What a process is begun with: ``args`` and ``environment`` hold secrets."""

    function: str
    frame: str
    args: Mapping[str, Any]
    path: Sequence[str]
    environment: Mapping[str, str]
    memory_limit: int

    @property
    def told(self) -> bytes:
        """Return what the process reads first."""
        told = {"function": self.function, "frame": self.frame, "args": self.args}
        return json.dumps({**told, "path": self.path}).encode()


def spawn(program: Program) -> tuple[subprocess.Popen[bytes], socket.socket, socket.socket, int]:
    """Begin the program; returns it, our ends of its sockets, and what it says."""
    environment = {"PATH": os.defpath, "LANG": "C.UTF-8", **program.environment}
    with ExitStack() as theirs, ExitStack() as ours:
        ends = []
        for _ in range(2):
            mine, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            ours.callback(mine.close)
            theirs.callback(other.close)
            ends.append((mine, other))
        heard, told = os.pipe()
        ours.callback(os.close, heard)
        theirs.callback(os.close, told)
        begin = os.memfd_create("dataflow-begin", os.MFD_CLOEXEC)
        theirs.callback(os.close, begin)
        with os.fdopen(begin, "wb", closefd=False) as file:
            file.write(program.told)
        os.lseek(begin, 0, os.SEEK_SET)
        fds = [other.fileno() for _, other in ends] + [begin]
        command = [sys.executable, "-I", "-u", "-X", "utf8", "-m", KEEPER, *map(str, fds)]
        popen = subprocess.Popen(  # noqa: S603 - a program of ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            env=environment,
            pass_fds=fds,
            start_new_session=True,
        )
        ours.pop_all()
    (work, _), (watch, _) = ends
    return popen, work, watch, heard
