"""A system in a process of its own that is told by lines of text what to measure inside itself."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers.timing import cpu_s, peak_rss_mib

STOP_S_MAX = 30
"""A node that leaves its cluster hands its shards over first."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What so many callers got out of a system."""

    seconds: float
    p50_ms: float
    p99_ms: float


class Asked:
    """A running process: a line goes in, a line comes back; it ends when its input does."""

    def __init__(self, command: Sequence[str | Path]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, line: str) -> str:
        """Return what it answers; it bounds its own time.

        Raises:
            RuntimeError: it has ended; its last words are on the standard error.
        """
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the process was started without pipes")
        self._process.stdin.write(f"{line}\n")
        self._process.stdin.flush()
        if answer := self._process.stdout.readline():
            return answer.strip()
        raise RuntimeError(f"the process ended, asked to {line!r}; its last words are above")

    def rate(self, in_flight: int, commands: int) -> Rate:
        """Let so many callers inside the process send commands, one at a time each."""
        return Rate(**json.loads(self.ask(f"rate {in_flight} {commands}")))

    def cpu_s(self) -> float:
        """Return the seconds of CPU it has used."""
        return cpu_s(self._process.pid)

    def peak_rss_mib(self) -> float:
        """Return the most memory it has held so far."""
        return peak_rss_mib(self._process.pid)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it as its input's end does, and for certain."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.kill()
