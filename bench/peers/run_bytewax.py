"""The work as a Bytewax dataflow of its own file connectors, on one worker, without recovery.

Recovery is off, which is faster: the figures are of a dataflow that promises less. JSON is parsed
by the standard library, as in Bytewax's own documentation.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from csv import DictReader
from pathlib import Path
from typing import Any

from bytewax import operators as op
from bytewax.connectors.files import CSVSource, FileSink, FileSource
from bytewax.dataflow import Dataflow
from bytewax.testing import run_main

from bench.peers.timing import main

JsonRow = Callable[[str], tuple[str, str] | None]

NAMES = Path(__file__).parents[2] / "data" / "bench" / "names-100000.csv"
COUNTRIES = frozenset({"DE", "FR", "GB", "US"})


def _csv_row(row: dict[str, str]) -> tuple[str, str] | None:
    price = float(row["price"])
    if price > 500 and row["country"] in COUNTRIES:
        return "", f"{','.join(row.values())},{price * int(row['quantity'])}"
    return None


def _json_row(line: str) -> tuple[str, str] | None:
    row: dict[str, Any] = json.loads(line)
    if kept(row):
        return "", json.dumps(row, ensure_ascii=False, separators=(",", ":"))
    return None


def kept(row: dict[str, Any]) -> bool:
    """Compute the new column of a row that passes."""
    if row["price"] > 500 and row["country"] in COUNTRIES:
        row["total"] = row["price"] * row["quantity"]
        return True
    return False


def csv(source: Path, target: Path) -> None:
    """Filter and compute from CSV to CSV; its sink writes no header."""
    flow = Dataflow("csv")
    rows = op.input("read", flow, CSVSource(source))
    op.output("write", op.filter_map("work", rows, _csv_row), FileSink(target))
    target.touch()
    run_main(flow)


def ndjson(source: Path, target: Path, work: JsonRow = _json_row) -> None:
    """Filter and compute from NDJSON to NDJSON."""
    flow = Dataflow("ndjson")
    rows = op.input("read", flow, FileSource(source))
    op.output("write", op.filter_map("work", rows, work), FileSink(target))
    target.touch()
    run_main(flow)


def _keyed(row: dict[str, str]) -> tuple[str, int]:
    return row["key"], int(row["value"])


def _added(so_far: tuple[int, int], value: int) -> tuple[int, int]:
    return so_far[0] + 1, so_far[1] + value


def _line(group: tuple[str, tuple[int, int]]) -> tuple[str, str]:
    key, (count, total) = group
    return "", f"{key},{count},{total}"


def aggregate(source: Path, target: Path) -> None:
    """Count and add up by key; its sink writes no header."""
    flow = Dataflow("aggregate")
    rows = op.map("key", op.input("read", flow, CSVSource(source)), _keyed)
    groups = op.fold_final("add", rows, lambda: (0, 0), _added)
    op.output("write", op.map("line", groups, _line), FileSink(target))
    target.touch()
    run_main(flow)


def _tags(row: dict[str, str]) -> list[tuple[str, str]]:
    tags = row["tags"].split(";") if row["tags"] else []
    return [("", f"{row['id']},{row['country']},{tag}") for tag in tags]


def flat_map(source: Path, target: Path) -> None:
    """Write a row for each tag; its sink writes no header."""
    flow = Dataflow("flat_map")
    rows = op.input("read", flow, CSVSource(source))
    op.output("write", op.flat_map("tags", rows, _tags), FileSink(target))
    target.touch()
    run_main(flow)


def _text(row: dict[str, str]) -> tuple[str, str]:
    return "", ",".join(row.values())


def deduplicate(source: Path, target: Path) -> None:
    """Keep the first row of each key, by a state a key."""
    flow = Dataflow("deduplicate")
    rows = op.key_on("key", op.input("read", flow, CSVSource(source)), lambda row: row["key"])
    told = op.stateful_map("seen", rows, lambda seen, row: (True, None if seen else row))
    kept = op.filter_map("first", told, lambda keyed: _text(keyed[1]) if keyed[1] else None)
    op.output("write", kept, FileSink(target))
    target.touch()
    run_main(flow)


def _with_names(source: Path, target: Path, *, all_rows: bool) -> None:
    """Look keys up in a dict that every worker holds: quicker than its join of two streams."""
    with NAMES.open() as file:
        known = {row["key"]: row["name"] for row in DictReader(file)}

    def named(row: dict[str, str]) -> tuple[str, str] | None:
        name = known.get(row["key"])
        if name is None and not all_rows:
            return None
        return "", f"{row['key']},{row['value']},{name or ''}"

    flow = Dataflow("names")
    rows = op.input("read", flow, CSVSource(source))
    op.output("write", op.filter_map("name", rows, named), FileSink(target))
    target.touch()
    run_main(flow)


def join_table(source: Path, target: Path) -> None:
    """Keep the rows that have a name, with it."""
    _with_names(source, target, all_rows=False)


def enrich(source: Path, target: Path) -> None:
    """Add the name of each key, where it has one."""
    _with_names(source, target, all_rows=True)


if __name__ == "__main__":
    main(
        {
            "csv_etl": csv,
            "ndjson_etl": ndjson,
            "aggregate": aggregate,
            "flat_map": flat_map,
            "deduplicate": deduplicate,
            "join_table": join_table,
            "enrich": enrich,
        }
    )
