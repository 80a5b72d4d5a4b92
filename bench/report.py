"""Results: rows of one shape, as lines on the screen, as JSON, and as tables in the README."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

README = Path(__file__).with_name("README.md")


@dataclass(frozen=True, slots=True)
class Row:
    """What one system did in one workload.

    Attributes:
        workload: its name.
        system: ``dataflow`` (with what was varied), or a peer.
        rows: how many it handled: records, commands, pipelines.
        seconds: the median of the runs.
        rows_per_s: ``rows / seconds``; None where that says nothing.
        cpu_s: user and system time of the system's own process; None where it was not measured.
        peak_rss_mib: the most memory that process held in any run.
        ratio: how many times as many rows a second as this system ``dataflow`` handled.
        detail: what else was measured, in words.
    """

    workload: str
    system: str
    rows: int
    seconds: float
    rows_per_s: float | None = None
    cpu_s: float | None = None
    peak_rss_mib: float | None = None
    ratio: float | None = None
    detail: str = ""


def median(runs: Sequence[Row]) -> Row:
    """Return the runs of one system as one row: the median run, the highest peak."""
    ordered = sorted(
        runs, key=lambda run: run.rows / run.seconds if run.rows_per_s else -run.seconds
    )
    middle = ordered[(len(runs) - 1) // 2]
    peaks = [run.peak_rss_mib for run in runs if run.peak_rss_mib is not None]
    detail = "; ".join(filter(None, [middle.detail, _spread(ordered) if len(runs) > 1 else ""]))
    return replace(middle, peak_rss_mib=max(peaks, default=None), detail=detail)


def _spread(ordered: Sequence[Row]) -> str:
    low, high = ordered[0], ordered[-1]
    if low.rows_per_s is None or high.rows_per_s is None:
        return f"{high.seconds:.2f} to {low.seconds:.2f} s"
    return f"{low.rows_per_s:,.0f} to {high.rows_per_s:,.0f} a second"


def compared(ours: Row, peers: Sequence[Row]) -> list[Row]:
    """Return all rows, each peer's with the ratio of rates."""
    rate = ours.rows_per_s or 0.0
    ratios = [replace(peer, ratio=rate / peer.rows_per_s) for peer in peers if peer.rows_per_s]
    return [ours, *ratios]


def line(row: Row) -> str:
    """Return a row for the screen."""
    shown = " ".join(f"{text:>{width}}" for text, width in zip(_cells(row), _WIDTHS, strict=True))
    return f"{row.system:<34}{shown}  {row.detail}"


_WIDTHS = (12, 9, 13, 8, 9, 7)
_HEAD = ("rows", "seconds", "rows/s", "CPU s", "peak MiB", "ratio")


def head() -> str:
    """Return the heading of ``line``."""
    shown = " ".join(f"{text:>{width}}" for text, width in zip(_HEAD, _WIDTHS, strict=True))
    return f"{'system':<34}{shown}"


def write_json(rows: Sequence[Row], path: Path) -> None:
    """Write the rows as a JSON array."""
    path.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n")


def write_readme(workload: str, rows: Sequence[Row], runs: int) -> None:
    """Replace one workload's table in the README; the text around it stays.

    Raises:
        RuntimeError: the README has no place for it.
    """
    table = [
        f"| system | {' | '.join(_HEAD)} | |",
        "|---|" + "---:|" * len(_HEAD) + "---|",
        *(f"| {row.system} | {' | '.join(_cells(row))} | {row.detail} |" for row in rows),
        "",
        f"_Median of {runs}; {machine()}._" if runs > 1 else f"_One run; {machine()}._",
    ]
    marks = f"<!-- {workload} -->", f"<!-- /{workload} -->"
    found = re.compile(f"{re.escape(marks[0])}.*?{re.escape(marks[1])}", re.DOTALL)
    text = README.read_text()
    if not found.search(text):
        raise RuntimeError(f"{README.name} has no {marks[0]} … {marks[1]} for the table")
    block = "\n".join([marks[0], *table, marks[1]])
    README.write_text(found.sub(lambda _: block, text))


def machine() -> str:
    """Return what the figures were measured on, and how busy it was before."""
    names = re.findall(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / (1 << 30)
    return (
        f"{os.cpu_count()} cores {names[0] if names else platform.machine()},"
        f" {memory:.0f} GiB, Python {platform.python_version()}"
    )


def _cells(row: Row) -> tuple[str, ...]:
    return (
        f"{row.rows:,}",
        f"{row.seconds:,.2f}",
        _shown(row.rows_per_s, ",.0f"),
        _shown(row.cpu_s, ",.1f"),
        _shown(row.peak_rss_mib, ",.0f"),
        _shown(row.ratio, ".2f"),
    )


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
