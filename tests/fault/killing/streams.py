"""Memories that wait for time, in a graph that is killed.

orders -> timed --+-> left join within 3 s -> paired.csv
payments -> paid -+
            timed -> windows, early results too -> windows.csv
            timed -> last of each note -> latest.csv
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fault.killing.graphs import Graph, Table, csv_rows, orders, windows, windows_step
from tests.fault.killing.scenarios import ROWS, csv_source

WITHIN_S = 3
PAID_EVERY = 4
"""One in so many orders is paid, of these every fifth twice, and some too late to be a pair."""


@dataclass(frozen=True)
class Streams(Graph):
    """Two streams that meet by time, windows that tell early, and rows that wait for the end."""

    def spec(self, folder: Path) -> dict[str, Any]:
        """Return the pipeline as a person would write it."""
        with (folder / "payments.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("order", "second"), *_payments()])
        sources = {"orders": csv_source(folder), "payments": _paid(folder)}
        return self._pipeline(folder, sources, _transforms(), _SINKS)

    def expected(self, folder: Path) -> Mapping[str, Table]:
        """Return the rows that each sink must have, in order."""
        rows = orders(folder)
        paid: dict[int, list[int | str]] = defaultdict(list)
        for order, second in _payments():
            if second - order <= WITHIN_S:
                paid[order].append(second)
        latest = {note: (f"{number}", note) for number, _, note in rows}
        return {
            "paired": sorted((f"{n}", f"{at}") for n, _, _ in rows for at in paid.get(n, [""])),
            "windows": windows(rows),
            "latest": sorted(latest.values()),
        }

    def written(self, folder: Path) -> Mapping[str, Table]:
        """Return what readers see, as ``expected``; of windows, what was said last."""
        paired = csv_rows(folder / "paired.csv")
        told = csv_rows(folder / "windows.csv")
        final = [row[:-1] for row in told if row[-1] == "true"]
        early = {row[0] for row in told if row[-1] != "true"}
        assert early <= {row[0] for row in final}
        latest = csv_rows(folder / "latest.csv")
        return {"paired": sorted(paired), "windows": final, "latest": sorted(latest)}


GRAPHS = (Graph("graph"), Graph("graph-python", python=True), Streams("graph-streams"))

_SINKS = {
    "paired": ("paired", "paired.csv"),
    "windows": ("counted", "windows.csv"),
    "latest": ("last", "latest.csv"),
}


def _paid(folder: Path) -> dict[str, Any]:
    return {
        "sourceType": "file",
        "connectionString": str(folder / "payments.csv"),
        "options": {"schema": {"order": "int64", "second": "int64"}},
    }


def _payments() -> list[tuple[int, int]]:
    found = [
        (order, order + order % 7)
        for order in range(0, ROWS, PAID_EVERY)
        for _ in range(2 if order % 5 == 0 else 1)
    ]
    return sorted(found, key=lambda one: one[1])


def _transforms() -> list[dict[str, Any]]:
    return [
        {
            "id": "timed",
            "transformType": "map",
            "inputs": ["orders"],
            "options": {"compute": {"at": "from_epoch_ms(id * 1000)"}},
        },
        {
            "id": "paid",
            "transformType": "map",
            "inputs": ["payments"],
            "options": {"compute": {"paid": "from_epoch_ms(second * 1000)"}},
        },
        {
            "id": "met",
            "transformType": "join",
            "inputs": ["timed", "paid"],
            "options": {
                "type": "left",
                "leftKeys": ["id"],
                "rightKeys": ["order"],
                "within": f"{WITHIN_S}s",
                "leftTime": "at",
                "rightTime": "paid",
            },
        },
        {
            "id": "paired",
            "transformType": "map",
            "inputs": ["met"],
            "options": {"keep": ["id", "second"]},
        },
        windows_step("timed", emit="early", earlyInterval="1s", finalColumn="done"),
        {
            "id": "counted",
            "transformType": "map",
            "inputs": ["windows"],
            "options": {"keep": ["first", "n", "total", "done"]},
        },
        {
            "id": "lasts",
            "transformType": "deduplicate",
            "inputs": ["timed"],
            "options": {"keys": ["note"], "keep": "last"},
        },
        {
            "id": "last",
            "transformType": "map",
            "inputs": ["lasts"],
            "options": {"keep": ["id", "note"]},
        },
    ]
