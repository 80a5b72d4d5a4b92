"""Pipelines as people write them, over small files."""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Document = dict[str, Any]

QUICK: Document = {"checkpointInterval": "20ms", "backoffInitial": "10ms", "maxAttempts": 3}
"""So that a test sees many checkpoints and few seconds."""


def source(path: Path | str, **options: Any) -> Document:  # noqa: ANN401 - any option
    """Return a file to read."""
    return {"sourceType": "file", "connectionString": str(path), "options": options}


def sink(path: Path | str, **options: Any) -> Document:  # noqa: ANN401 - any option
    """Return a file to write."""
    return {"sinkType": "file", "connectionString": str(path), "options": options}


def where(expression: str) -> Document:
    """Return a filter."""
    return {"transformType": "filter", "options": {"expression": expression}}


def computed(**columns: str) -> Document:
    """Return a map that adds columns."""
    return {"transformType": "map", "options": {"compute": columns}}


def line(
    begin: Mapping[str, Any],
    end: Mapping[str, Any],
    *transforms: Document,
    **others: Any,  # noqa: ANN401 - any field of a pipeline
) -> Document:
    """Return a pipeline of one line."""
    options = {**QUICK, **others.pop("options", {})}
    return {
        "source": begin,
        "transforms": list(transforms),
        "sink": end,
        "options": options,
        **others,
    }


def generated(rows: int = 0, rate: int = 0, *columns: Document) -> Document:
    """Return a source of made-up rows; the column ``id`` is their number."""
    options: Document = {"rows": rows, "rowsPerSecond": rate}
    options["columns"] = [{"name": "id", "kind": "sequence"}, *columns]
    return {"sourceType": "generator", "batchSize": 50, "options": options}


def write_rows(path: Path, rows: int, seed: int = 1, malformed_every: int = 0) -> list[int]:
    """Write a csv of id, amount and note; return the ordinals of its malformed records."""
    rng = random.Random(seed)
    bad = []
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "amount", "note"])
        for number in range(rows):
            amount: object = rng.randint(0, 40)
            if malformed_every and number % malformed_every == 3:
                amount = "twelve"
                bad.append(number)
            note = rng.choice(["plain", 'says "hi"', "two\nlines", "comma, here", "ünïcode"])
            writer.writerow([number, amount, note])
    return bad


SCHEMA = {"id": "int64", "amount": "int64", "note": "string"}
KEPT = (where("amount > 10"), computed(twice="amount * 2"))
"""What ``expected`` computes, as the platform is asked to."""


def expected(path: Path) -> list[list[str]]:
    """Return what must come out of ``KEPT``, computed by the standard library row by row."""
    with path.open(newline="") as file:
        return [
            [row["id"], row["amount"], row["note"], str(int(row["amount"]) * 2)]
            for row in csv.DictReader(file)
            if row["amount"].isdigit() and int(row["amount"]) > 10
        ]


def written(path: Path) -> list[list[str]]:
    """Return the rows of a csv file, or of the parts of a folder in order."""
    parts: Sequence[Path] = [path]
    if path.is_dir():
        parts = sorted(part for part in path.iterdir() if not part.name.startswith("."))
    found = []
    for part in parts:
        with part.open(newline="") as file:
            found += list(csv.reader(file))[1:]
    return found
