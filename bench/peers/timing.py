"""How a peer tells what its work took; standard library alone, as every peer imports it."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

Etl = Callable[[Path, Path], None]

_TICKS = os.sysconf("SC_CLK_TCK")


def peak_rss_mib(pid: int | str = "self") -> float:
    """Return the most memory a process has held so far, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} shows no peak of its memory; Linux does")


def cpu_s(pid: int | str = "self") -> float:
    """Return the seconds of CPU that a process has used, its ended children's included."""
    stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(ticks) for ticks in stat[11:15]) / _TICKS


def main(workloads: Mapping[str, Etl]) -> None:
    """Run ``WORKLOAD INPUT OUTPUT`` and print seconds, CPU and memory as one line of JSON.

    Imports come before the clock starts: a long input is what is measured, not the start.
    """
    workload, source, target = sys.argv[1:]
    measured(lambda: workloads[workload](Path(source), Path(target)))


def measured(work: Callable[[], None]) -> None:
    """Do some work and print seconds, CPU and memory as one line of JSON."""
    before, started = os.times(), time.perf_counter()
    work()
    seconds, after = time.perf_counter() - started, os.times()
    cpu_s = after.user + after.system - before.user - before.system
    print(json.dumps({"seconds": seconds, "cpu_s": cpu_s, "peak_rss_mib": peak_rss_mib()}))
