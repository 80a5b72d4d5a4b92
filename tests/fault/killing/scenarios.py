"""What is killed: pipelines over real files, and what must come out of them whatever happens.

The expectation is computed by the standard library alone, from the input, row by row: it shares
no code with the platform.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

ROWS = 10_000
BATCH = 100
MALFORMED_EVERY = 701
"""Rows whose amount is no number: they become dead letters."""


@dataclass(frozen=True)
class Scenario:
    """One pipeline: where it writes and how its output is read back."""

    name: str
    target: str
    options: dict[str, Any]
    pushed: bool = False
    replayed: bool = False
    """Its dead letters are patched and replayed by a second run."""

    def spec(self, folder: Path) -> dict[str, Any]:
        """Return the pipeline as a person would write it."""
        return {
            "name": self.name,
            "source": self._push() if self.pushed else csv_source(folder),
            "transforms": [
                {"transformType": "filter", "options": {"expression": "amount > 10"}},
                {"transformType": "map", "options": {"compute": {"twice": "amount * 2"}}},
            ],
            "sink": {
                "sinkType": "file",
                "connectionString": str(folder / self.target),
                "options": self.options,
            },
            "options": {
                "checkpointInterval": "20ms",
                "checkpointRows": 900,
                "backoffInitial": "20ms",
            },
        }

    def _push(self) -> dict[str, Any]:
        schema = {"id": "int64", "amount": "int64", "note": "string"}
        return {"sourceType": "push", "batchSize": BATCH, "options": {"schema": schema}}


def csv_source(folder: Path) -> dict[str, Any]:
    """Return the source that reads the input."""
    return {
        "sourceType": "file",
        "connectionString": str(folder / "in.csv"),
        "batchSize": BATCH,
        "options": {
            "nullValues": ["NA"],
            "schema": {"id": "int64", "amount": "int64", "note": "string"},
            "onError": "dead-letter",
        },
    }


SCENARIOS = (
    Scenario("one-file", "out.csv", {}),
    Scenario("gzip", "out.csv.gz", {}),
    Scenario("parquet", "out.parquet", {}),
    Scenario("folder", "out", {"format": "csv", "rotateRows": 1700}),
    Scenario("folder-parquet", "out", {"format": "parquet", "rotateRows": 1900}),
    Scenario(
        "folder-json-gzip", "out", {"format": "json", "compression": "gzip", "rotateRows": 1800}
    ),
    Scenario("replayed", "out.csv", {}, replayed=True),
    Scenario("push", "out.csv", {}, pushed=True),
    Scenario("push-folder", "out", {"format": "json", "rotateRows": 1700}, pushed=True),
)


def make_input(folder: Path, seed: int) -> None:
    """Write an input with quoted newlines, nulls, and rows that are malformed."""
    rng = random.Random(seed)
    with (folder / "in.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "amount", "note"])
        for number in range(ROWS):
            amount: object = rng.randint(0, 40)
            if number % 53 == 0:
                amount = "NA"
            if number % MALFORMED_EVERY == 5:
                amount = "twelve"
            note = rng.choice(["plain", 'says "hi"', "two\nlines", "comma, here", "ünïcode"])
            writer.writerow([number, amount, note])


Row = tuple[int, int, str, int]


PATCH = {
    "id": "cast(split_part(record, ',', 1) as bigint)",
    "amount": "50",
    "note": "'patched'",
}
"""What becomes of a record that could not be read, when it is replayed."""


def expected(folder: Path, *, replayed: bool = False) -> tuple[list[Row], list[int]]:
    """Return the rows that must be written, in order, and the records that must be set aside."""
    rows: list[Row] = []
    dead: list[int] = []
    with (folder / "in.csv").open(newline="") as file:
        for ordinal, row in enumerate(csv.DictReader(file)):
            if row["amount"] == "NA":
                continue
            if not row["amount"].isdigit():
                dead.append(ordinal)
            elif int(row["amount"]) > 10:
                amount = int(row["amount"])
                rows.append((int(row["id"]), amount, row["note"], amount * 2))
    if replayed:
        rows += [(ordinal, 50, "patched", 100) for ordinal in dead]
        dead = []
    return rows, dead


def pushed_records(folder: Path) -> list[dict[str, Any]]:
    """Return the input as records to push; what is malformed cannot be pushed."""
    with (folder / "in.csv").open(newline="") as file:
        return [
            {
                "id": int(row["id"]),
                "amount": None if row["amount"] == "NA" else int(row["amount"]),
                "note": row["note"],
            }
            for row in csv.DictReader(file)
            if row["amount"] != "twelve"
        ]


def written(scenario: Scenario, folder: Path) -> list[Row]:
    """Return what a reader of the output sees, in order."""
    target = folder / scenario.target
    parts = (
        sorted(p for p in target.glob("*") if not p.name.startswith("."))
        if (target.is_dir())
        else [target]
    )
    return [row for part in parts for row in _rows(part)]


def _rows(part: Path) -> Iterator[Row]:
    if part.suffix == ".parquet":
        for row in pq.read_table(part).to_pylist():
            yield row["id"], row["amount"], row["note"], row["twice"]
        return
    with (gzip.open if part.suffix == ".gz" else open)(part, "rt", newline="") as file:
        if ".json" in part.name:
            for line in file:
                row = json.loads(line)
                yield row["id"], row["amount"], row["note"], row["twice"]
        else:
            for row in csv.DictReader(file):
                yield int(row["id"]), int(row["amount"]), row["note"], int(row["twice"])
