"""Systems that take turns over files: the loop that measures each and checks what it wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from bench.report import Row, compared, median
from bench.server import Place, place
from bench.workloads.workload import Ask

Measure: TypeAlias = Callable[[Path, Path, Place], Row]
"""Has a system read one file and write another."""


def in_turns(
    ask: Ask,
    systems: Mapping[str, Measure],
    fewer_rows: Mapping[str, int],
    *,
    source_of: Callable[[int], Path],
    check: Callable[[Path, Path], None],
) -> list[Row]:
    """Return the median run of each system, the first beside its peers.

    Args:
        ask: how many rows, and how many turns.
        systems: by name; the first is the one that is compared.
        fewer_rows: by how much the rows of a slow system are divided.
        source_of: returns a file of so many rows.
        check: raises if what a system wrote of a file is wrong; asked in the first turn.
    """
    measured: dict[str, list[Row]] = {system: [] for system in systems}
    for number in range(ask.runs):
        with place() as here:
            for system, measure in systems.items():
                source = source_of(ask.rows // fewer_rows.get(system, 1))
                target = here.folder / f"{system}.csv"
                row = measure(source, target, here)
                ask.tell(f"{row.system}: {row.rows_per_s:,.0f} rows/s")
                measured[system].append(row)
                if number == 0:
                    check(source, target)
    ours, *peers = (median(runs) for runs in measured.values())
    return compared(ours, peers)
