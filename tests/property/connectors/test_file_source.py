"""Chunks, batches and restarts are invisible in what a csv file is read as."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.connect import Rejected
from tests.integration.connectors.file_source.conftest import Folder, Read

CELLS = st.text('ab",\n\r é', max_size=6)
TABLES = st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=12)
ENDS = ("\n", "\r\n", "\r")
OPTIONS = {"columns": ["x", "y"], "schema": {"x": "string", "y": "string"}, "nullValues": []}
KINDS: Mapping[str, Mapping[str, object]] = {"csv": OPTIONS, "txt": {}}


def read(path: Path, chunk: int, batch: int, resumed: tuple[Read, int] | None = None) -> Read:
    """Read a csv file, from one of the positions of an earlier reading."""
    folder = Folder(path)
    where = None
    if resumed is not None:
        earlier, at = resumed
        split, position, _, _ = earlier.positions[at]
        where = {split.id: position}
    return asyncio.run(folder.read("a.csv", OPTIONS, chunk=chunk, batch=batch, start=where))


@given(
    table=TABLES,
    chunk=st.integers(1, 40),
    batch=st.integers(0, 5),
    style=st.sampled_from([(q, end) for q in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL) for end in ENDS]),
)
@settings(max_examples=60, deadline=None)
def test_what_a_writer_wrote_is_read_in_any_chunks_and_from_any_position(
    table: list[tuple[str, str]], chunk: int, batch: int, style: tuple[int, str]
) -> None:
    """Quotes, doubled quotes and line breaks in cells fall on every edge there is."""
    quoting, end = style
    if quoting == csv.QUOTE_MINIMAL:  # this writer quotes no line break but its own
        bare = str.maketrans("\r\n" if end == "\r" else "\r", "  " if end == "\r" else " ")
        table = [(x.translate(bare), y.translate(bare)) for x, y in table]
    text = io.StringIO()
    csv.writer(text, lineterminator=end, quoting=quoting).writerows(table)  # type: ignore[arg-type]  # an enum in typeshed, an int in the module
    with TemporaryDirectory() as name:
        path = Path(name)
        (path / "a.csv").write_bytes(text.getvalue().encode())
        whole = read(path, chunk, batch)
        assert [tuple(row.values()) for row in whole.rows] == table
        assert whole.rejected == []
        for at in range(len(whole.positions)):
            rest = read(path, 1 + chunk // 2, batch, (whole, at))
            assert whole.rows[: whole.positions[at][2]] + rest.rows == whole.rows


@given(text=st.text('ab1,"\n\r', max_size=60), chunk=st.integers(1, 30))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_read_the_same_in_any_chunks(text: str, chunk: int) -> None:
    """What is malformed is so wherever chunks end: the same rows, the same refusals."""
    with TemporaryDirectory() as name:
        path = Path(name)
        (path / "a.csv").write_text(text, newline="")
        whole = read(path, 1 << 20, 0)
        parts = read(path, chunk, 0)
        assert parts.rows == whole.rows
        assert [(n, record.rstrip("\r\n")) for n, record, _ in parts.rejected] == [
            (n, record.rstrip("\r\n")) for n, record, _ in whole.rejected
        ]


def added(path: Path, text: str, cut: int, options: Mapping[str, object]) -> Read | None:
    """Read the beginning of a text and then, going on, all of it; None where that is refused."""
    folder = Folder(path.parent)
    path.write_text(text[:cut], newline="")
    found = asyncio.run(folder.read(path.name, options))
    path.write_text(text, newline="")
    where = {split.id: position for split, position, _, _ in found.positions[-1:]}
    try:
        rest = asyncio.run(folder.read(path.name, options, start=where or None))
    except Rejected:
        return None
    found.rows += rest.rows
    found.rejected += rest.rejected
    return found


@given(
    text=st.text('a1,"\n\r', max_size=40),
    cut=st.integers(0, 40),
    kind=st.sampled_from(sorted(KINDS)),
)
@settings(max_examples=200, deadline=None)
def test_what_is_added_is_read_as_if_it_had_been_there_or_refused(
    text: str, cut: int, kind: str
) -> None:
    """Wherever a writer was interrupted: a record that it had begun is never taken for two."""
    with TemporaryDirectory() as name:
        path = Path(name) / f"a.{kind}"
        parts = added(path, text, cut, KINDS[kind])
        if parts is None:
            assert not text[:cut].endswith("\n") or '"' in text[:cut]
            return
        whole = asyncio.run(Folder(path.parent).read(path.name, KINDS[kind]))
        assert parts.rows == whole.rows
        assert [one[1:] for one in parts.rejected] == [one[1:] for one in whole.rejected]
