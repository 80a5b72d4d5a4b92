"""Records longer than what may be held, and quotes that are never closed."""

from __future__ import annotations

import gzip

import pytest

from dataflow.connect import Rejected
from tests.integration.connectors.file_source.conftest import Folder


async def test_the_limit_of_a_record_holds_in_any_encoding(folder: Folder) -> None:
    """Its UTF-8 counts, which is what is held; a piece may be decoded to more than was asked."""
    most, more = "ß" * (8 << 20), "ß" * (8 << 20) + "x"
    folder.write("a.txt", f"{most}\n{more}\nz\n".encode("latin-1"))
    read = await folder.read("a.txt", {"encoding": "latin-1"})
    assert [len(row["line"]) for row in read.rows] == [8 << 20, 1]
    assert [number for number, _, _ in read.rejected] == [1]


async def test_a_record_beyond_the_limit_is_refused_and_passed_over(folder: Folder) -> None:
    """It would not fit into memory; the records around it do."""
    folder.write("a.csv", b"a,b\n1,x\n2," + b"y" * (33 << 20) + b"\n3,z\n4,w")
    read = await folder.read("a.csv")
    assert [row["a"] for row in read.rows] == [1, 3, 4]
    ((number, record, error),) = read.rejected
    assert (number, len(record)) == (1, 1024)
    assert error.startswith("longer than 16 MiB: bytes 8 to 34603019 of")
    for split, position, before, _ in read.positions:
        rest = await folder.read("a.csv", start={split.id: position})
        assert rest.rows == read.rows[before:]


async def test_a_quote_left_open_costs_no_more_than_the_limit(folder: Folder) -> None:
    """One wrong quote must not swallow a file of any size."""
    line = b"3," + b"z" * 1021 + b"\n"
    folder.write("a.csv", b'a,b\n1,x\n2,"y\n' + line * (20 << 10))
    read = await folder.read("a.csv")
    assert read.rejected[0][:2] == (1, ('2,"y\n' + line.decode())[:1024].rstrip("\n"))
    assert read.rejected[0][2].startswith("longer than 16 MiB")
    assert len(read.rows) == 1 + (4 << 10)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
async def test_a_quote_left_open_in_short_lines_is_passed_over(folder: Folder, name: str) -> None:
    """Looked at anew at each of a million line feeds, it held the whole process for hours."""
    content = b'a,b\n1,x\n2,"y\n' + b"3,z\n" * (5 << 20)
    folder.write(name, gzip.compress(content, 1) if name.endswith("gz") else content)
    read = await folder.read(name, chunk=1 << 16)
    assert len(read.rejected) == 1
    assert read.rejected[0][2].startswith("longer than 16 MiB")


async def test_a_quote_left_open_at_the_end_is_told(folder: Folder) -> None:
    """Arrow takes it for closed, and the rest of the file for a cell."""
    folder.write("a.csv", b'a,b\n1,x\n2,"y\n' + b"3,z\n" * (3 << 20))
    read = await folder.read("a.csv")
    assert read.rows == [{"a": 1, "b": "x"}]
    assert [error for _, _, error in read.rejected] == ["a quote is not closed"]


@pytest.mark.parametrize(
    ("header", "why"),
    [
        (b'a,"b\n' + b"3,z\n" * 1000, "a quote is not closed"),
        (b'a,"b\n' + b"3,z\n" * (5 << 20), "it is longer than 16 MiB"),
    ],
)
async def test_a_header_without_an_end_is_refused(folder: Folder, header: bytes, why: str) -> None:
    """All of the file would be the name of a column."""
    folder.write("a.csv", header)
    with pytest.raises(Rejected, match=f"its header cannot be read: {why}"):
        await folder.read("a.csv")
