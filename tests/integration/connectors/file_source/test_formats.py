"""Every format, compression and option, read from disk."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow.connect import Rejected
from tests.integration.connectors.file_source.conftest import Folder

ROWS = [{"n": n, "s": f"text {n}, more", "x": n / 4} for n in range(150)]
CONTENT = {
    "csv": "n,s,x\n" + "".join(f'{r["n"]},"{r["s"]}",{r["x"]}\n' for r in ROWS),
    "json": "".join(json.dumps(row) + "\n" for row in ROWS),
    "txt": "".join(f"{row['s']}\n" for row in ROWS),
}


def packed(text: str, how: str) -> bytes:
    """Return a file's bytes; gzip and zstd in two members, as appending makes them."""
    data, half = text.encode(), len(text) // 2
    if how == ".gz":
        return gzip.compress(data[:half]) + gzip.compress(data[half:])
    if how == ".zst":
        return b"".join(pa.compress(p, "zstd", asbytes=True) for p in (data[:half], data[half:]))
    return data


def parquet(path: Path, rows: list[dict[str, object]] | None = None) -> None:
    """Write a file of several row groups."""
    pq.write_table(pa.Table.from_pylist(rows or ROWS), path, row_group_size=45)


def expected(extension: str) -> list[dict[str, object]]:
    """Return the rows that a file holds."""
    return [{"line": row["s"]} for row in ROWS] if extension == "txt" else list(ROWS)


@pytest.mark.parametrize("name", [f"in.{e}{h}" for e in CONTENT for h in ("", ".gz", ".zst")])
@pytest.mark.parametrize(("batch", "chunk"), [(0, 1 << 20), (7, 1 << 20), (0, 100), (7, 100)])
async def test_reading_on_from_any_position_gives_the_rest(
    folder: Folder, name: str, batch: int, chunk: int
) -> None:
    """A run may end after any chunk, and the next one must neither lose nor repeat a row."""
    extension = name.split(".")[1]
    folder.write(name, packed(CONTENT[extension], Path(name).suffix))
    whole = await folder.read(name, batch=batch, chunk=chunk)
    assert whole.rows == expected(extension)
    assert whole.rejected == []
    assert len(whole.schemas) == 1
    assert max(whole.sizes) <= (batch or 150)
    assert whole.bytes_read == (folder.path / name).stat().st_size
    for split, position, before, _ in whole.positions[:: max(1, len(whole.positions) // 4)]:
        for size in (chunk, 700):
            rest = await folder.read(name, batch=batch, chunk=size, start={split.id: position})
            assert rest.rows == whole.rows[before:]


@pytest.mark.parametrize("batch", [0, 40])
async def test_parquet_is_resumed_within_a_row_group(folder: Folder, batch: int) -> None:
    """Row groups may hold millions of rows; a position is finer than that."""
    parquet(folder.path / "in.parquet")
    whole = await folder.read("in.parquet", batch=batch)
    assert whole.rows == ROWS
    assert len(whole.sizes) == (7 if batch else 4)
    for split, position, before, _ in whole.positions:
        rest = await folder.read("in.parquet", batch=batch, start={split.id: position})
        assert rest.rows == ROWS[before:]


async def test_parquet_is_read_in_the_types_that_expressions_take(folder: Folder) -> None:
    """A dictionary, or a large string, in one file and not in the next must make no difference."""
    column = pa.array(["a", "b", "a"]).dictionary_encode()
    pq.write_table(pa.table({"s": column}), folder.path / "1.parquet")
    pq.write_table(pa.table({"s": pa.array(["c"], pa.large_string())}), folder.path / "2.parquet")
    read = await folder.read("*.parquet")
    assert [row["s"] for row in read.rows] == ["a", "b", "a", "c"]
    assert read.schemas == {pa.schema([("s", pa.string())])}


async def test_bad_records_are_counted_and_resumed_over(folder: Folder) -> None:
    """Their numbers are those of the records in the file, whatever the batches are."""
    lines = ["a,b", *(f"{n},x" if n % 7 else f"{n}" for n in range(60))]
    folder.write("in.csv", "\n".join(lines))
    bad = [n for n in range(60) if n % 7 == 0]
    for batch in (0, 1, 4, 100):
        for chunk in (1 << 20, 50):
            whole = await folder.read("in.csv", batch=batch, chunk=chunk)
            assert [one[:2] for one in whole.rejected] == [(n, str(n)) for n in bad]
            assert [row["a"] for row in whole.rows] == [n for n in range(60) if n % 7]
            for split, position, before, refused in whole.positions:
                rest = await folder.read(
                    "in.csv", batch=batch, chunk=chunk, start={split.id: position}
                )
                assert rest.rows == whole.rows[before:]
                assert [one[1] for one in rest.rejected] == [str(n) for n in bad[refused:]]


@pytest.mark.parametrize(
    ("name", "options", "read"),
    [
        ("a.csv", {"header": False}, ("1,x\n", [{"column_1": 1, "column_2": "x"}])),
        ("a.csv", {"columns": ["a", "b"]}, ("1,x\n", [{"a": 1, "b": "x"}])),
        ("a.txt", {"columns": ["text"]}, ("x\n", [{"text": "x"}])),
        ("a.tsv", {"delimiter": "\t"}, ("a\tb\n1\t2,3\n", [{"a": 1, "b": "2,3"}])),
        ("a.csv", {"quote": "'"}, ("a\n'x\ny'\n", [{"a": "x\ny"}])),
        ("a.csv", {"quote": ""}, ('a\n"x\n', [{"a": '"x'}])),
        ("a.csv", {"nullValues": ["NA"]}, ("a,b\nNA,\n", [{"a": None, "b": ""}])),
        ("a.csv", {"schema": {"a": "string"}}, ("a,b\n01,2\n", [{"a": "01", "b": 2}])),
        (
            "a.csv",
            {
                "header": False,
                "schema": [{"name": "z", "type": "string"}, {"name": "a", "type": "int"}],
            },
            ("1,2\n", [{"z": "1", "a": 2}]),
        ),
        ("a.csv", {"schema": {"b": "int"}, "otherColumns": "drop"}, ("a,b\nx,2\n", [{"b": 2}])),
        (
            "a.json",
            {"schema": {"b": "int"}, "otherColumns": "drop"},
            ('{"a":1,"b":2}\n', [{"b": 2}]),
        ),
        ("a.json", {"schema": {"b": "string"}}, ('{"a":1,"b":"2"}\n', [{"b": "2", "a": 1}])),
        ("a.csv", {"inferRows": 1}, ("a\n1\nx\n", [{"a": 1}])),
        ("a.csv", {"inferRows": 2}, ("a\n1\nx\n", [{"a": "1"}, {"a": "x"}])),
        ("a.data", {"format": "csv"}, ("a\n1\n", [{"a": 1}])),
        ("a.csv", {"format": "text"}, ("a\n1\n", [{"line": "a"}, {"line": "1"}])),
        ("a.csv.gz", {"compression": "none"}, ("a\n1\n", [{"a": 1}])),
    ],
)
async def test_every_option_changes_what_is_read(
    folder: Folder, name: str, options: dict[str, object], read: tuple[str, list[object]]
) -> None:
    """An option that is parsed and ignored is worse than none."""
    content, rows = read
    folder.write(name, content)
    assert (await folder.read(name, options)).rows == rows


async def test_compression_can_be_said(folder: Folder) -> None:
    """Names do not always tell."""
    folder.write("a.csv", gzip.compress(b"a\n1\n"))
    assert (await folder.read("a.csv", {"compression": "gzip"})).rows == [{"a": 1}]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-le", "cp1252", "utf-8-sig"])
@pytest.mark.parametrize("chunk", [5, 1 << 20])
async def test_other_encodings_are_read_and_resumed(
    folder: Folder, encoding: str, chunk: int
) -> None:
    """A character may be cut between two reads, and an offset must not be."""
    content = "a,b\r\n" + "".join(f"{n},éß{n}\r\n" for n in range(50))
    folder.write("a.csv", content.encode(encoding))
    whole = await folder.read("a.csv", {"encoding": encoding}, chunk=chunk)
    assert whole.rows == [{"a": n, "b": f"éß{n}"} for n in range(50)]
    split, position, before, _ = whole.positions[len(whole.positions) // 2]
    rest = await folder.read("a.csv", {"encoding": encoding}, start={split.id: position})
    assert rest.rows == whole.rows[before:]


@pytest.mark.parametrize(
    ("encoding", "text"),
    [("utf-16", "日😀"), ("gb18030", "日😀"), ("shift_jis", "日本"), ("iso2022_jp", "日本")],
)
@pytest.mark.parametrize("chunk", [1, 3])
async def test_characters_of_several_bytes_may_be_cut_anywhere(
    folder: Folder, encoding: str, text: str, chunk: int
) -> None:
    """Two halves of four bytes, and letters that mean what an escape before them says."""
    content = "a,b\r\n" + "".join(f"{n},{text}{n}\r\n" for n in range(8))
    folder.write("a.csv", content.encode(encoding))
    whole = await folder.read("a.csv", {"encoding": encoding}, chunk=chunk)
    assert whole.rows == [{"a": n, "b": f"{text}{n}"} for n in range(8)]
    for split, position, before, _ in whole.positions:
        start = {split.id: position}
        rest = await folder.read("a.csv", {"encoding": encoding}, chunk=chunk, start=start)
        assert rest.rows == whole.rows[before:]


async def test_what_cannot_be_decoded_refuses_its_record_only(folder: Folder) -> None:
    """A replacement character would be a wrong cell that nobody hears of."""
    folder.write("a.csv", b"a,b\n1,x\n2,\xe9\n3,z\n")
    for encoding in ("utf-8", "ascii"):
        read = await folder.read("a.csv", {"encoding": encoding})
        assert [row["a"] for row in read.rows] == [1, 3]
        assert [(at, error) for at, _, error in read.rejected] == [(1, "invalid UTF-8")]


@pytest.mark.parametrize("content", ["\ufeffa,b\n1,2\n", "a,b\r\n1,2\r\n", "\n\na,b\n\n1,2"])
async def test_marks_and_line_ends_of_other_systems_are_no_data(
    folder: Folder, content: str
) -> None:
    """A byte order mark would become part of the first name."""
    folder.write("a.csv", content)
    for chunk in (1, 4 << 20):
        assert (await folder.read("a.csv", chunk=chunk)).rows == [{"a": 1, "b": 2}]


@pytest.mark.parametrize(
    "content",
    [
        "a,b\r1,x\n2,y\n3,z\n",
        "a,b\r1,x\r2,y\r3,z\r",
        "\ra,b\r\r1,x\r2,y\r3,z",
        "a,b\r\n1,x\r2,y\n3,z\r\n",
    ],
)
@pytest.mark.parametrize("quote", ['"', ""])
@pytest.mark.parametrize("chunk", [1, 5, 4 << 20])
async def test_a_carriage_return_ends_a_csv_record_and_its_header(
    folder: Folder, content: str, quote: str, chunk: int
) -> None:
    """The parser ends rows there; a header that ended elsewhere took rows with it unheard."""
    folder.write("a.csv", content)
    read = await folder.read("a.csv", {"quote": quote}, chunk=chunk)
    assert read.rows == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}, {"a": 3, "b": "z"}]
    for split, position, before, _ in read.positions:
        rest = await folder.read("a.csv", {"quote": quote}, start={split.id: position})
        assert rest.rows == read.rows[before:]


async def test_a_carriage_return_in_a_quoted_name_is_part_of_it(folder: Folder) -> None:
    """Spreadsheets write names of several lines so."""
    folder.write("a.csv", '"a\rb",c\r1,2\r')
    assert (await folder.read("a.csv")).rows == [{"a\rb": 1, "c": 2}]


async def test_a_carriage_return_in_a_line_of_text_stays_in_it(folder: Folder) -> None:
    """Progress bars write so; only at the very end is it taken for half a line break."""
    folder.write("a.txt", "10%\r20%\nx\r\ny\r")
    assert [row["line"] for row in (await folder.read("a.txt")).rows] == ["10%\r20%", "x", "y"]


async def test_a_csv_without_a_last_line_break_has_its_only_row(folder: Folder) -> None:
    """Arrow finds no columns in a row that nothing ends."""
    folder.write("a.csv", "a,b")
    assert (await folder.read("a.csv")).rows == []
    bare = await folder.read("a.csv", {"header": False})
    assert bare.rows == [{"column_1": "a", "column_2": "b"}]


@pytest.mark.parametrize("extension", ["csv", "json"])
@pytest.mark.parametrize("content", ["", "\n\n\r\n", "\ufeff"])
async def test_a_file_without_records_has_no_rows(
    folder: Folder, extension: str, content: str
) -> None:
    """Nothing, or only blank lines, is an input like others; so is a header alone."""
    folder.write(f"a.{extension}", content)
    assert (await folder.read(f"a.{extension}")).rows == []


async def test_a_header_alone_has_no_rows_and_the_next_file_tells_the_types(
    folder: Folder,
) -> None:
    """Types inferred from nothing would refuse, or spoil, all that follows."""
    folder.write("a.csv", "")
    folder.write("b.csv", "n,s\n")
    folder.write("c.csv", "s,n\nx,1\n")
    read = await folder.read()
    assert read.rows == [{"s": "x", "n": 1}]
    only = await folder.read("b.csv")
    assert (only.rows, only.positions) == ([], [])


async def test_types_stay_those_of_the_first_run(folder: Folder) -> None:
    """The file may have grown records that would infer otherwise; the lineage's types hold."""
    folder.write("a.csv", "a\n1\n")
    source = folder.source("a.csv")
    pinned = await source.open(None)
    folder.write("a.csv", "a\nx\n1\n2\n")
    read = await folder.read("a.csv", pinned=pinned)
    assert [row["a"] for row in read.rows] == [1, 2]
    assert len(read.rejected) == 1


async def test_folders_globs_and_urls_name_several_files(folder: Folder) -> None:
    """In the order of their paths; hidden and half-written ones are not looked at."""
    for name in ("b.csv", "a.csv", "sub/c.csv", ".hidden.csv", "_temporary.csv"):
        folder.write(name, f"f\n{name}\n")
    folder.write("notes.txt", "x\n")
    assert [r["f"] for r in (await folder.read("*.csv")).rows] == ["a.csv", "b.csv"]
    deep = [r["f"] for r in (await folder.read("**/*.csv")).rows]
    assert deep == ["a.csv", "b.csv", "sub/c.csv"]
    (folder.path / "notes.txt").unlink()
    assert [r["f"] for r in (await folder.read("")).rows] == ["a.csv", "b.csv"]
    url = await folder.read(f"file://{folder.path}/a.csv")
    assert url.rows == [{"f": "a.csv"}]
    folder.write("[x].csv", "f\n1\n")
    assert (await folder.read("[x].csv")).rows == [{"f": 1}]


async def test_columns_may_change_their_order_and_nothing_else(folder: Folder) -> None:
    """A column that is missing, or new, is a question for a person."""
    folder.write("1.csv", "a,b\n1,x\n")
    folder.write("2.csv", "b,a\ny,2\n")
    assert (await folder.read()).rows == [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]
    for header, complaint in (("a", "lacks 'b'"), ("a,b,c", "in addition 'c'")):
        folder.write("3.csv", f"{header}\n")
        with pytest.raises(Rejected, match=complaint) as refused:
            await folder.read()
        assert refused.value.code == "SOURCE_CHANGED"
    schema = {"schema": {"a": "int", "b": "string"}}
    folder.write("3.csv", "a,c,b\n3,0,z\n")
    dropped = await folder.read("", {**schema, "otherColumns": "drop"})
    assert dropped.rows[-1] == {"a": 3, "b": "z"}


async def test_parquet_files_must_agree(folder: Folder) -> None:
    """Types are pinned; a cast that nobody asked for could change values."""
    parquet(folder.path / "1.parquet", [{"a": 1}])
    parquet(folder.path / "2.parquet", [{"a": "x"}])
    with pytest.raises(Rejected, match="'a' is string, was int64"):
        await folder.read()
