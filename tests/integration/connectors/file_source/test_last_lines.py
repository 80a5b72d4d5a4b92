"""A last line without a line feed: a record, unless its writer was in the middle of it."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping

import pyarrow as pa
import pytest

from dataflow.connect import Rejected
from dataflow.connectors.file.scan import Blocks
from dataflow.connectors.file.source_stream import open_stream
from dataflow.connectors.formats.lines import Lines
from tests.integration.connectors.file_source.conftest import Folder, Read

Pack = Callable[[str], bytes]

STORED: Mapping[str, tuple[str, Pack, dict[str, object]]] = {
    "plain": ("", str.encode, {}),
    "gzip": (".gz", lambda text: gzip.compress(text.encode()), {}),
    "zstd": (".zst", lambda text: bytes(pa.compress(text.encode(), "zstd", asbytes=True)), {}),
    "utf-16": ("", lambda text: text.encode("utf-16-le"), {"encoding": "utf-16-le"}),
    "latin-1": ("", lambda text: text.encode("latin-1"), {"encoding": "latin-1"}),
}
"""How bytes are added to a file: a compressed one grows by a member."""

FORMATS: Mapping[str, tuple[str, str, str]] = {
    "csv": ("n,s\n1,x\n2,y\n12,z", "34\n56,w\n", "56,w\n"),
    "json": ('{"n":1}\n{"n":2}\n{"n":12}', ' {"n":34}\n{"n":56}\n', '{"n":56}\n'),
    "txt": ("1\n2\n12", "34\n56\n", "56\n"),
}
"""What is there at first, what would change its last line, and what comes after that."""

ADDED_TO = r"its last line, which had no line feed, has been added to since .* replay the pipeline"


class Growing:
    """A file that is read, added to, and read on."""

    def __init__(self, folder: Folder, extension: str, stored: str) -> None:
        self.extension = extension
        suffix, self._pack, self._options = STORED[stored]
        self.first, self.changing, self.then = FORMATS[extension]
        self._folder = folder
        self._name = f"a.{extension}{suffix}"

    def add(self, text: str) -> None:
        """Add to the file."""
        with (self._folder.path / self._name).open("ab") as file:
            file.write(self._pack(text))

    async def read(
        self, after: Read | None = None, at: int = -1, *, batch: int = 0, chunk: int = 4 << 20
    ) -> Read:
        """Read from a position of an earlier reading, its last one by default."""
        start = None
        if after is not None:
            split, position, _, _ = after.positions[at]
            start = {split.id: position}
        return await self._folder.read(
            self._name, self._options, batch=batch, chunk=chunk, start=start
        )


@pytest.fixture(params=[(kind, how) for kind in FORMATS for how in STORED], ids="-".join)
def file(folder: Folder, request: pytest.FixtureRequest) -> Growing:
    """Return a file of each format, stored in each way."""
    return Growing(folder, *request.param)


async def test_what_is_added_to_a_last_line_that_was_read_is_refused(file: Growing) -> None:
    """Its beginning has gone out as a record; its rest as another would be two wrong rows."""
    file.add(file.first)
    read = await file.read()
    assert len(read.rows) == 3
    file.add(file.changing)
    with pytest.raises(Rejected, match=ADDED_TO) as refused:
        await file.read(read)
    assert refused.value.code == "SOURCE_CHANGED"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("chunk", [1, 1 << 20])
async def test_a_line_break_behind_a_last_line_ends_it_and_is_no_record(
    file: Growing, end: str, chunk: int
) -> None:
    """Some writers put it before each record but the first; text has blank records."""
    file.add(file.first)
    read = await file.read()
    file.add(end)
    assert (await file.read(read, chunk=chunk)).sizes == []
    file.add(file.then)
    added = await file.read(read, chunk=chunk)
    assert [str(next(iter(row.values()))) for row in added.rows] == ["56"]
    assert (await file.read(added, chunk=chunk)).sizes == []


async def test_nothing_behind_a_last_line_is_nothing_to_read(file: Growing) -> None:
    """A pipeline that is started again over the same file has nothing left to do."""
    file.add(file.first)
    read = await file.read()
    assert (await file.read(read)).sizes == []


@pytest.mark.parametrize("chunk", [4, 1 << 20])
async def test_a_last_line_that_was_not_yet_delivered_is_read_as_it_has_become(
    file: Growing, chunk: int
) -> None:
    """A crash in the middle leaves a position before it, also one that counts within a block."""
    file.add(file.first)
    read = await file.read(batch=1, chunk=chunk)
    file.add("\n" + file.then)
    whole = await file.read()
    assert len(whole.rows) == 4
    for at, (_, _, before, _) in enumerate(read.positions):
        rest = await file.read(read, at, batch=1, chunk=chunk)
        assert rest.rows == whole.rows[before:]
        assert (await file.read(rest)).sizes == []


async def test_half_a_line_break_ends_no_line(file: Growing) -> None:
    """The writer was in the middle of CR LF: the other half is no record, and CR no text."""
    file.add(file.first + "\r")
    read = await file.read()
    assert "\r" not in str(read.rows)
    assert (await file.read(read)).sizes == []
    file.add("\n" + file.then)
    rest = await file.read(read)
    assert len(rest.rows) == 1
    assert rest.rejected == []


async def test_what_is_added_to_half_a_line_break_is_refused(file: Growing) -> None:
    """So a CR was a part of the line; but in csv it ends a record, as a line feed does."""
    file.add(file.first + "\r")
    read = await file.read()
    file.add(file.changing)
    if file.extension == "csv":
        rest = await file.read(read)
        assert [row["n"] for row in rest.rows] == [56]
        assert [record for _, record, _ in rest.rejected] == ["34"]
        return
    with pytest.raises(Rejected, match=ADDED_TO):
        await file.read(read)


async def test_what_is_added_to_a_quote_left_open_is_refused(folder: Folder) -> None:
    """A line feed is part of a quoted cell, so it does not end such a record."""
    for more in ("y", "\n", '\ny"\n3,z\n'):
        folder.write("a.csv", 'n,s\n1,x\n2,"x')
        read = await folder.read("a.csv")
        assert read.rejected == [(1, '2,"x', "a quote is not closed")]
        split, position, _, _ = read.positions[-1]
        assert (await folder.read("a.csv", start={split.id: position})).sizes == []
        with (folder.path / "a.csv").open("a") as file:
            file.write(more)
        with pytest.raises(Rejected, match="its last record, which had no end, has been added"):
            await folder.read("a.csv", start={split.id: position})


async def test_what_is_added_to_half_a_character_is_refused(folder: Folder) -> None:
    """It was refused as no character, and is one now."""
    whole = ("1\n" * 1000 + "22\n56\n").encode("utf-16-le")
    options = {"encoding": "utf-16-le"}
    path = folder.write("a.txt", whole[:4003])
    read = await folder.read("a.txt", options)
    assert [error for _, _, error in read.rejected] == ["invalid UTF-8"]
    path.write_bytes(whole)
    split, position, _, _ = read.positions[-1]
    with pytest.raises(Rejected, match="its last record, which had no end, has been added"):
        await folder.read("a.txt", options, start={split.id: position})


def test_a_file_that_grows_while_its_last_line_is_read_is_not_read_on(folder: Folder) -> None:
    """Within one reading the two halves of a line would be two records as well."""
    path = folder.write("a.txt", "1\n12")
    stream = open_stream(path, "none", "utf-8")
    found = []
    for block in Blocks(stream, Lines(), partial_last=True, chunk_bytes=8):
        found.append(block.data)
        if block.last:
            path.write_bytes(b"1\n1234\n")
    stream.close()
    assert found == [b"1\n", b"12"]


async def test_half_a_compressed_member_behind_a_last_line_is_damage(folder: Folder) -> None:
    """As anywhere else in a file that nobody is said to be writing."""
    path = folder.write("a.txt.gz", gzip.compress(b"1\n2"))
    read = await folder.read("a.txt.gz")
    with path.open("ab") as file:
        file.write(gzip.compress(b"\n3\n")[:-5])
    split, position, _, _ = read.positions[-1]
    with pytest.raises(Rejected, match="ends in the middle") as refused:
        await folder.read("a.txt.gz", start={split.id: position})
    assert refused.value.code == "CORRUPTED"


async def test_what_is_added_to_a_last_line_beyond_the_limit_is_refused(folder: Folder) -> None:
    """It was refused for its length alone, and its rest is no record either."""
    path = folder.write("a.txt", b"x\n" + b"y" * (17 << 20))
    read = await folder.read("a.txt")
    assert (read.rows, len(read.rejected)) == ([{"line": "x"}], 1)
    split, position, _, _ = read.positions[-1]
    with path.open("a") as file:
        file.write("y\nz\n")
    with pytest.raises(Rejected, match=ADDED_TO):
        await folder.read("a.txt", start={split.id: position})


def test_a_record_beyond_the_limit_is_left_while_it_is_being_written(folder: Folder) -> None:
    """Its rest would be taken for a record of its own."""
    path = folder.write("a.txt", "1\n" + "y" * 40)
    for more, expected in (("", [False]), ("yy\n3\n", [False, True, False])):
        with path.open("a") as file:
            file.write(more)
        stream = open_stream(path, "none", "utf-8")
        blocks = Blocks(stream, Lines(), partial_last=False, chunk_bytes=8, record_bytes_max=16)
        assert [block.too_long for block in blocks] == expected
        stream.close()


async def test_a_csv_of_carriage_returns_is_gone_on_with(folder: Folder) -> None:
    """The last of them is half a line break until something else follows."""
    folder.write("a.csv", b"n,s\r1,x\r2,y\r")
    read = await folder.read("a.csv")
    assert [row["n"] for row in read.rows] == [1, 2]
    split, position, _, _ = read.positions[-1]
    folder.write("a.csv", b"n,s\r1,x\r2,y\r3,z\r")
    rest = await folder.read("a.csv", start={split.id: position})
    assert rest.rows == [{"n": 3, "s": "z"}]
