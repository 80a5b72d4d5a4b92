"""What a running process has used so far, from outside: CPU, memory, bytes by peer, its metrics."""

from __future__ import annotations

import os
import re
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.peers.timing import cpu_s

_PEER = re.compile(r"\S+:(\d+)\s+users:.*?pid=(\d+),")
_BYTES = re.compile(r"bytes_(?:sent|received):(\d+)")
_SAMPLE = re.compile(r"^([a-z_]+)(?:\{(.*?)\})? ([0-9.e+-]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Used:
    """What was used within a time."""

    seconds: float
    cpu_s: Mapping[str, float]
    """By process, as they were named."""
    sent: Mapping[int, int]
    """Bytes both ways between one process and each port."""
    counted: Mapping[str, float]
    """What counters of metrics have grown by; labels as they stand."""

    def a_second(self, counter: str) -> float:
        """Return how fast a counter grew, over all labels that hold this text."""
        grown = sum(value for name, value in self.counted.items() if counter in name)
        return grown / self.seconds


@dataclass
class Meter:
    """Which processes, ports and metrics are looked at."""

    pids: Mapping[str, int]
    client: str
    """The process whose connections are counted."""
    pages: Callable[[], Iterator[str]] = field(default=lambda: iter(()))
    """URLs of metrics."""

    @contextmanager
    def used(self) -> Iterator[Callable[[], Used]]:
        """Return what tells, after the block, what was used within it."""
        before, began = self._now(), time.perf_counter()
        after = before, began

        def told() -> Used:
            (cpu, sent, counted), ended = after
            return Used(
                seconds=ended - began,
                cpu_s={name: cpu[name] - before[0][name] for name in cpu},
                sent={port: sent[port] - before[1].get(port, 0) for port in sent},
                counted={name: counted[name] - before[2].get(name, 0.0) for name in counted},
            )

        yield told
        after = self._now(), time.perf_counter()

    def _now(self) -> tuple[dict[str, float], dict[int, int], dict[str, float]]:
        cpu = {name: cpu_s(pid) for name, pid in self.pids.items()}
        counted: dict[str, float] = {}
        for page in self.pages():
            counted |= metrics(page)
        return cpu, bytes_by_port(self.pids[self.client]), counted


def rss_mib(pid: int) -> float:
    """Return the memory that a process holds now."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def bytes_by_port(pid: int) -> dict[int, int]:
    """Return the bytes of a process's open connections by the port at the other end (``ss``)."""
    shown = subprocess.run(
        ["ss", "-tinpHO"],  # noqa: S607 - wherever iproute2 is
        capture_output=True,
        text=True,
        check=True,
    )
    found: Counter[int] = Counter()
    for line in shown.stdout.splitlines():
        peer = _PEER.search(line)
        if peer is not None and int(peer[2]) == pid:
            found[int(peer[1])] += sum(map(int, _BYTES.findall(line)))
    return dict(found)


def metrics(url: str) -> dict[str, float]:
    """Return every sample that a page of metrics shows, by name and labels."""
    with urllib.request.urlopen(url, timeout=10) as page:  # noqa: S310 - of this machine
        text = page.read().decode()
    return {f"{name}{{{labels}}}": float(value) for name, labels, value in _SAMPLE.findall(text)}
