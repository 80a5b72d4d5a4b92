"""The ``file`` lookup: every format, a file that changes, and what is wrong with it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pytest

from dataflow.connect import Lookup, Rejected, Waiting, Wanted
from dataflow.connect.testkit import LookupSuite, context
from dataflow.connect.testkit.lookup import KNOWN, WANTED
from dataflow.connectors.file.lookup import open_lookup
from dataflow.connectors.file.lookup_spec import SPEC, FileLookupOptions
from tests.unit.transforms.operators import Clock

TABLE = pl.DataFrame(
    {
        "number": [*KNOWN],
        "price": [price for _, price in KNOWN.values()],
        "name": [name for name, _ in KNOWN.values()],
    }
)


def opened(
    path: Path, wanted: Wanted = WANTED, clock: Clock | None = None, **options: object
) -> Lookup:
    """Return a lookup over a file."""
    given = {"type": "file", "path": str(path), "keys": ["number"], **options}
    parsed = parse_lookup(given)
    return open_lookup(parsed, wanted, replace(context(), clock=clock or Clock()))


def parse_lookup(given: Mapping[str, Any]) -> FileLookupOptions:
    """Return options as people write them."""
    return FileLookupOptions.model_validate_json(json.dumps(given), strict=True)


class FileSuite(LookupSuite):
    """Over a file that is there."""

    folder: Path

    @pytest.fixture(autouse=True)
    def _folder(self, tmp_path: Path) -> None:
        self.folder = tmp_path


class TestCsv(FileSuite):
    """Texts, which are cast like any answer."""

    def lookup(self) -> Lookup:
        TABLE.write_csv(self.folder / "t.csv", separator=";")
        return opened(self.folder / "t.csv", delimiter=";")


class TestJson(FileSuite):
    """One object a line."""

    def lookup(self) -> Lookup:
        TABLE.write_ndjson(self.folder / "t.ndjson")
        return opened(self.folder / "t.ndjson")


class TestParquet(FileSuite):
    """Types of its own."""

    def lookup(self) -> Lookup:
        TABLE.write_parquet(self.folder / "t")
        return opened(self.folder / "t", format="parquet")


KEYS = pa.record_batch({"id": pa.array([1], pa.int64())})


def test_a_file_that_has_changed_is_read_again_when_it_is_time_to_look(tmp_path: Path) -> None:
    """And not before: a file on a network is not to be asked for every batch."""
    path, clock = tmp_path / "t.csv", Clock()
    found = []
    lookup = opened(path, clock=clock, checkInterval="10s")
    for name in ("old", "new"):
        written = path.with_suffix(".tmp")
        written.write_text(f"number,price,name\n1,2.5,{name}\n")
        os.replace(written, path)  # noqa: PTH105 - in one step, as who replaces a file should
        for seconds in (0, 9, 1):
            clock.sleep(seconds=seconds)
            found += lookup.find(KEYS).rows["name"].to_pylist()
    assert found == ["old", "old", "old", "old", "old", "new"]


def test_a_file_that_is_not_there_is_waited_for(tmp_path: Path) -> None:
    """It may be on its way; the pipeline says so and goes on when it has come."""
    with pytest.raises(Waiting, match="is not there yet"):
        opened(tmp_path / "t.csv").find(KEYS)


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        ("number,price\n1,2\n", {}, "has no column 'name'; it has number, price"),
        ("number,price,name\nx,1,a\n", {}, "its keys are not of the types of the rows' keys"),
        ("number,price,name\n" + "1,1,a\n" * 1000, {"bytesMax": 1024}, "raise bytesMax"),
        ("", {}, "t.csv"),
    ],
)
def test_a_file_that_cannot_serve_is_refused_with_what_is_wrong(
    tmp_path: Path, text: str, options: Mapping[str, Any], said: str
) -> None:
    """With its name."""
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(Rejected, match=said):
        opened(tmp_path / "t.csv", **options).find(KEYS)


@pytest.mark.parametrize(
    ("options", "field"),
    [({"path": "t.txt"}, "format"), ({"path": "t.csv", "keys": ["a", "b"]}, "keys")],
)
def test_wrong_options_are_reported_by_their_path(options: Mapping[str, Any], field: str) -> None:
    """Below the lookup."""
    (problem,) = SPEC.check(parse_lookup({"type": "file", **options}), WANTED)
    assert problem.field == field
