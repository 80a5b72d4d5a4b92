"""What is killed besides lines: graphs with memories, several inputs and several sinks.

    orders -> sized -big---> twice -> big.csv
       |        +----small-> distinct (deduplicate) -> distinct.csv
       |        +----small-> own (python) -> own.csv
       |        +----small-> coded (join with notes) -> coded.csv
       +----> totals (aggregate of the run) -> totals.json
       +----> timed -> windows (aggregate by tumbling windows) -> windows.csv

As for lines, what is expected is computed by the standard library alone.
"""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fault.killing.scenarios import csv_source

WINDOW_S = 500
"""Rows are a second apart."""

Table = Sequence[tuple[object, ...]]

CODES = (("plain", 1), ('says "hi"', 2), ("comma, here", 3), ("comma, here", 4), ("gone", 5))
"""What a table knows of notes: of some nothing, of one twice."""

FUNCTION = """
def own(batch, by):
    import pyarrow.compute as pc
    at = batch.schema.get_field_index("amount")
    return batch.set_column(at, "amount", pc.multiply(batch.column("amount"), by))
"""


@dataclass(frozen=True)
class Graph:
    """A graph; ``python`` adds the branch with a function of its own."""

    name: str
    python: bool = False
    pushed: bool = False
    replayed: bool = False

    def spec(self, folder: Path) -> dict[str, Any]:
        """Return the pipeline as a person would write it."""
        (folder / "own_steps.py").write_text(FUNCTION)
        with (folder / "notes.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "code"), *CODES])
        transforms, sinks = _transforms(), dict(_SINKS)
        if self.python:
            transforms.append(_own(folder))
            sinks["own"] = ("own", "own.csv")
        sources = {"orders": csv_source(folder), "notes": _notes(folder)}
        return self._pipeline(folder, sources, transforms, sinks)

    def _pipeline(
        self,
        folder: Path,
        sources: Mapping[str, Any],
        transforms: Sequence[Mapping[str, Any]],
        sinks: Mapping[str, tuple[str, str]],
    ) -> dict[str, Any]:
        """Return a pipeline that decides often; ``sinks`` has what each reads, and its file."""
        return {
            "name": self.name,
            "sources": sources,
            "transforms": transforms,
            "sinks": {
                f"to-{name}": {
                    "sinkType": "file",
                    "connectionString": str(folder / target),
                    "input": read,
                    "options": {},
                }
                for name, (read, target) in sinks.items()
            },
            "options": {
                "checkpointInterval": "20ms",
                "checkpointRows": 1500,
                "backoffInitial": "20ms",
            },
        }

    def expected(self, folder: Path) -> Mapping[str, Table]:
        """Return the rows that each sink must have; their order counts where it is one."""
        rows = orders(folder)
        small = [row for row in rows if row[1] is not None and row[1] <= 10]
        found: dict[str, Table] = {
            "big": [(n, a, note, a * 2) for n, a, note in rows if a is not None and a > 10],
            "distinct": _distinct(small),
            "coded": [(*row, *note) for row in small for note in CODES if note[0] == row[2]],
            "totals": _totals(rows),
            "windows": windows(rows),
        }
        if self.python:
            found["own"] = [(n, (amount or 0) * 3, note) for n, amount, note in small]
        return found

    def written(self, folder: Path) -> Mapping[str, Table]:
        """Return what readers see; as text, as csv has it."""
        found: dict[str, Table] = {
            name: csv_rows(folder / f"{name}.csv")
            for name in ("big", "distinct", "coded", "windows", *(["own"] if self.python else []))
        }
        with (folder / "totals.json").open() as file:
            records = [json.loads(line) for line in file]
        found["totals"] = sorted((r["note"], r["n"], r["total"]) for r in records)
        return found

    def check(self, folder: Path) -> None:
        """Compare what can be seen with what must be there: each row once in every sink."""
        expected, written = self.expected(folder), self.written(folder)
        assert written.keys() == expected.keys()
        for name, rows in expected.items():
            wanted, found = _as_text(rows), _as_text(written[name])
            assert len(found) == len(wanted), name
            assert found == wanted, name


def _as_text(rows: Table) -> list[tuple[str, ...]]:
    return [tuple(map(str, row)) for row in rows]


_SINKS = {
    "big": ("twice", "big.csv"),
    "distinct": ("distinct", "distinct.csv"),
    "coded": ("coded", "coded.csv"),
    "totals": ("totals", "totals.json"),
    "windows": ("counted", "windows.csv"),
}


def windows_step(read: str, **options: object) -> dict[str, Any]:
    """Return the step that counts and sums by windows, as ``windows`` does."""
    sums = {"first": "min(id)", "n": "count()", "total": "sum(amount)"}
    window = {"type": "tumbling", "size": f"{WINDOW_S}s", "timeColumn": "at"}
    return {
        "id": "windows",
        "transformType": "aggregate",
        "inputs": [read],
        "options": {"aggregates": sums, "window": window, **options},
    }


def _transforms() -> list[dict[str, Any]]:
    sums = {"n": "count()", "total": "sum(amount)"}
    return [
        {
            "id": "sized",
            "transformType": "route",
            "inputs": ["orders"],
            "options": {
                "routes": [
                    {"name": "big", "when": "amount > 10"},
                    {"name": "small", "when": "amount <= 10"},
                ]
            },
        },
        {
            "id": "twice",
            "transformType": "map",
            "inputs": ["sized.big"],
            "options": {"compute": {"twice": "amount * 2"}},
        },
        {
            "id": "distinct",
            "transformType": "deduplicate",
            "inputs": ["sized.small"],
            "options": {"keys": ["note", "amount"]},
        },
        {
            "id": "coded",
            "transformType": "join",
            "inputs": ["sized.small", "notes"],
            "options": {"leftKeys": ["note"], "rightKeys": ["text"]},
        },
        {
            "id": "totals",
            "transformType": "aggregate",
            "inputs": ["orders"],
            "options": {"groupBy": ["note"], "aggregates": sums},
        },
        {
            "id": "timed",
            "transformType": "map",
            "inputs": ["orders"],
            "options": {"compute": {"at": "from_epoch_ms(id * 1000)"}},
        },
        windows_step("timed"),
        {
            "id": "counted",
            "transformType": "map",
            "inputs": ["windows"],
            "options": {"keep": ["first", "n", "total"]},
        },
    ]


def _notes(folder: Path) -> dict[str, Any]:
    return {
        "sourceType": "file",
        "connectionString": str(folder / "notes.csv"),
        "options": {"schema": {"text": "string", "code": "int64"}},
    }


def _own(folder: Path) -> dict[str, Any]:
    return {
        "id": "own",
        "transformType": "python",
        "inputs": ["sized.small"],
        "options": {
            "function": "own_steps:own",
            "args": {"by": 3},
            "pythonPath": [str(folder)],
        },
    }


Order = tuple[int, int | None, str]


def orders(folder: Path) -> list[Order]:
    """Return the rows that can be read."""
    with (folder / "in.csv").open(newline="") as file:
        return [
            (int(row["id"]), None if row["amount"] == "NA" else int(row["amount"]), row["note"])
            for row in csv.DictReader(file)
            if row["amount"] != "twelve"
        ]


def _distinct(rows: Sequence[Order]) -> Table:
    firsts: dict[tuple[object, ...], Order] = {}
    for row in rows:
        firsts.setdefault((row[2], row[1]), row)
    return list(firsts.values())


def _totals(rows: Sequence[Order]) -> Table:
    counts = Counter(note for _, _, note in rows)
    sums: dict[str, int] = defaultdict(int)
    for _, amount, note in rows:
        sums[note] += amount or 0
    return sorted((note, count, sums[note]) for note, count in counts.items())


def windows(rows: Sequence[Order]) -> Table:
    """Return the first number of each window, how many rows it has, and their sum."""
    found: dict[int, list[int]] = {}
    for number, amount, _ in rows:
        window = found.setdefault(number // WINDOW_S, [number, 0, 0])
        window[1] += 1
        window[2] += amount or 0
    return [tuple(found[start]) for start in sorted(found)]


def csv_rows(path: Path) -> Table:
    """Return the rows of a file, as text."""
    with path.open(newline="") as file:
        return [tuple(row.values()) for row in csv.DictReader(file)]
