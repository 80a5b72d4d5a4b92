"""What goes wrong with files, and what is said then."""

from __future__ import annotations

import errno
import gzip
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow.app.contexts import Paths
from dataflow.connect import Rejected, Unavailable, Waiting
from dataflow.connectors.file import source_files
from dataflow.connectors.file.source_stream import reading
from tests.integration.connectors.file_source.conftest import Folder

NOBODY = 65534
CSV = "a,b\n" + "".join(f"{n},x\n" for n in range(2000))


async def test_a_missing_file_is_waited_for_or_refused(folder: Folder) -> None:
    """A file that comes later is no failure, unless its author says that it is."""
    for name in ("no.csv", "*.csv"):
        with pytest.raises(Waiting, match="no"):
            await folder.read(name)
        with pytest.raises(Rejected, match="no") as refused:
            await folder.read(name, {"mustExist": True})
        assert refused.value.field == "connectionString"


async def test_a_file_that_goes_before_its_turn_is_waited_for(folder: Folder) -> None:
    """It was listed when the run began."""
    path = folder.write("a.csv", "a\n1\n")
    source = folder.source("")
    await source.open(None)
    (split,) = await source.splits()
    path.unlink()
    with pytest.raises(Waiting, match=r"a\.csv"):
        await anext(source.read(split, None))


async def test_a_file_shorter_than_what_was_read_is_refused(folder: Folder) -> None:
    """Reading on at the end would lose what is written in between."""
    path = folder.write("a.csv", CSV)
    pinned = await folder.source("a.csv").open(None)
    whole = await folder.read("a.csv", chunk=3000)
    split, position, _, _ = whole.positions[1]
    for size in (position.offset - 1, 100, 0):
        os.truncate(path, size)
        complaint = f"a.csv: it has been truncated.* offset {position.offset};"
        with pytest.raises(Rejected, match=complaint) as refused:
            await folder.read("a.csv", pinned=pinned, start={split.id: position})
        assert refused.value.code == "SOURCE_CHANGED"


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
async def test_a_file_with_other_content_is_refused(folder: Folder, name: str) -> None:
    """The same name is not the same file, and an offset in one means nothing in the other."""

    def write(first: int) -> None:
        rows = [{"a": n} for n in range(first, first + 2000)]
        if name.endswith("parquet"):
            pq.write_table(pa.Table.from_pylist(rows), folder.path / name, row_group_size=500)
        else:
            text = "a\n" + "".join(f"{row['a']}\n" for row in rows)
            folder.write(name, gzip.compress(text.encode()) if name.endswith("gz") else text)

    write(10_000)
    split, position, before, _ = (await folder.read(name, chunk=3000)).positions[1]
    write(10_000)
    again = await folder.read(name, start={split.id: position})
    assert again.rows[0] == {"a": 10_000 + before}
    write(20_000)
    with pytest.raises(Rejected, match=f"{name}: its content has been replaced") as refused:
        await folder.read(name, start={split.id: position})
    assert refused.value.code == "SOURCE_CHANGED"


@pytest.mark.parametrize(
    ("name", "data", "complaint"),
    [
        ("a.csv.gz", gzip.compress(CSV.encode())[:-20], "a.csv.gz: ends in the middle"),
        ("a.csv.gz", CSV.encode(), "a.csv.gz: is damaged near its byte"),
        ("a.json.zst", pa.compress(b'{"a":1}\n' * 99, "zstd", asbytes=True)[:-3], "ends in the"),
        ("a.json.zst", b"(\xb5/\xfd" + b"\xff" * 99, "a.json.zst: is damaged"),
        ("a.parquet", b"PAR1" + b"x" * 99 + b"PAR1", "a.parquet: .*parquet|damaged"),
        ("a.parquet", b"", "a.parquet: damaged, or no parquet file"),
        ("a.csv", b"a,b,a\n1,2,3\n", "header names a column twice: 'a'"),
        ("a.csv", b"a,\xff\n1,2\n", "header cannot be read"),
        ("a.data", b"x", "options.format: the name 'a.data' does not tell"),
    ],
)
async def test_a_damaged_file_is_refused_by_name(
    folder: Folder, name: str, data: bytes, complaint: str
) -> None:
    """Trying again would find the same; a person has to mend it."""
    folder.write(name, data)
    with pytest.raises(Rejected, match=complaint):
        await folder.read("" if name == "a.data" else name)


async def test_damage_behind_good_rows_loses_none_of_them(folder: Folder) -> None:
    """What was read before is decided before; the error says where the damage begins."""
    parts = [gzip.compress(f"{n}\n".encode() * 1000) for n in range(3)]
    broken = bytearray(b"".join(parts))
    broken[len(parts[0]) + len(parts[1]) + 12] ^= 0xFF
    folder.write("a.txt.gz", bytes(broken))
    source = folder.source("a.txt.gz", chunk=500)
    await source.open(None)
    (split,) = await source.splits()
    rows = []

    async def read() -> None:
        async for chunk in source.read(split, None):
            rows.extend(chunk.batch.column("line").to_pylist())

    with pytest.raises(Rejected, match=r"is damaged near its byte \d+"):
        await read()
    assert len(rows) >= 1500


async def test_damage_is_told_about_where_it_is(folder: Folder) -> None:
    """A read takes megabytes, and where it began says nothing of a place in the file."""
    text = "".join(f"{n * 2654435761 % 2**32}\n" for n in range(300_000)).encode()
    broken = bytearray(gzip.compress(text, 1))
    at = len(broken) * 3 // 4
    broken[at : at + 99] = b"\xff" * 99
    folder.write("a.txt.gz", bytes(broken))
    with pytest.raises(Rejected, match="is damaged near its byte") as refused:
        await folder.read("a.txt.gz")
    told = int(refused.value.message.split("near its byte ")[1].split(":")[0])
    assert abs(told - at) <= 128 << 10


async def test_what_is_no_ordinary_file_within_is_refused() -> None:
    """The system makes these up as they are read, and no offset in them lasts."""
    source = Folder(Path("/proc/self")).source("status", {"format": "text"})
    await source.open(None)
    (split,) = await source.splits()
    with pytest.raises(Rejected, match=r"/proc/.*/status: cannot be read as a file"):
        async for _ in source.read(split, None):
            pass


async def test_text_without_the_mark_that_its_encoding_needs_is_refused(folder: Folder) -> None:
    """The codec raises an error of its own, whatever is done about single bytes."""
    folder.write("a.csv", "a,b\n1,x\n".encode("utf-16-le"))
    with pytest.raises(Rejected, match="BOM; use an encoding whose byte order is fixed"):
        await folder.read("a.csv", {"encoding": "utf-16"})


async def test_a_folder_in_place_of_a_file_and_no_file_at_all_are_told(folder: Folder) -> None:
    """A named pipe would block for ever, and a folder within a folder is not looked into."""
    os.mkfifo(folder.path / "pipe.csv")
    with pytest.raises(Rejected, match="neither a file nor a directory"):
        await folder.read("pipe.csv")
    (folder.path / "sub.csv").mkdir()
    with pytest.raises(Waiting, match="no files"):
        await folder.read("sub.csv", {"format": "csv"})


def test_errors_of_the_system_say_who_must_act(tmp_path: Path) -> None:
    """Permission is the caller's to give; a failing disk may answer the next time."""
    with pytest.raises(Rejected, match="Permission denied") as refused, reading(tmp_path, 7):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert refused.value.code == "PERMISSION"
    with pytest.raises(Unavailable, match="offset 7: Input/output") as later, reading(tmp_path, 7):
        raise OSError(errno.EIO, "Input/output error")
    assert later.value.code == "STORAGE"
    with pytest.raises(Rejected, match="is a directory"), reading(tmp_path, 0):
        tmp_path.open("rb")
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(Rejected, match="loop: cannot be read"), reading(tmp_path / "loop", 0):
        (tmp_path / "loop").open("rb")


@pytest.mark.parametrize("text", ["loop/a.csv", "a\0.csv"])
def test_a_path_that_leads_nowhere_is_refused(tmp_path: Path, text: str) -> None:
    """Neither a loop of links nor a NUL, which may come from a secret, is a fault of the node."""
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(Rejected, match="is no path") as refused:
        Paths(())(str(tmp_path / text))
    assert refused.value.field == "connectionString"


@pytest.mark.parametrize("closed", ["a.csv", ""], ids=["file", "folder"])
async def test_what_may_not_be_read_is_refused(closed: str) -> None:
    """As the operating system tells an ordinary user; root may read everything."""
    with TemporaryDirectory() as name:
        folder = Folder(Path(name))
        folder.write("a.csv", CSV)
        folder.path.chmod(0o755)
        (folder.path / closed).chmod(0)
        mine = os.geteuid()
        os.seteuid(mine or NOBODY)
        try:
            with pytest.raises(Rejected, match="Permission denied") as refused:
                await folder.read("a.csv")
        finally:
            os.seteuid(mine)
            folder.path.chmod(0o755)
        assert refused.value.code == "PERMISSION"


async def test_files_outside_of_the_roots_are_refused(folder: Folder, tmp_path: Path) -> None:
    """Also behind a link; the options of a pipeline are not to be trusted with a whole disk."""
    folder.roots = folder.path
    outside = tmp_path / "secret.csv"
    outside.write_text("a\n1\n")
    with pytest.raises(Rejected, match="outside of the allowed roots"):
        await folder.read(str(outside))
    (folder.path / "link.csv").symlink_to(outside)
    with pytest.raises(Rejected, match="outside of the allowed roots"):
        await folder.read("*.csv")


async def test_too_many_files_are_refused(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a position in every checkpoint."""
    monkeypatch.setattr(source_files, "FILES_MAX", 3)
    for n in range(4):
        folder.write(f"{n}.csv", "a\n1\n")
    with pytest.raises(Rejected, match="more than 3 files"):
        await folder.read()


async def test_a_schema_that_the_file_does_not_have_is_refused(folder: Folder) -> None:
    """At the start, by name, with the columns that there are."""
    folder.write("a.csv", "a,b\n1,2\n")
    with pytest.raises(Rejected, match=r"'z': .*a.csv has no such column; it has 'a', 'b'"):
        await folder.read("a.csv", {"schema": {"z": "int"}})
    with pytest.raises(Rejected, match="has other columns: 'b'"):
        await folder.read("a.csv", {"schema": {"a": "int"}, "otherColumns": "reject"})
    with pytest.raises(Rejected, match="2 cells, yet schema names 1"):
        await folder.read("a.csv", {"schema": {"a": "int"}, "header": False})


async def test_records_without_any_field_are_refused(folder: Folder) -> None:
    """A table without columns has no rows, so they would pass for an empty file."""
    folder.write("a.json", "{}\n { }\n")
    with pytest.raises(Rejected, match="its first records have no fields") as refused:
        await folder.read("a.json")
    assert refused.value.field == "options.schema"
    named = await folder.read("a.json", {"schema": {"x": "int"}})
    assert named.rows == [{"x": None}, {"x": None}]


async def test_a_json_field_of_numbers_and_strings_names_a_way_out(folder: Folder) -> None:
    """No type reads both: a string takes no number, so that 1.0 and 1 stay what they are."""
    folder.write("a.json", '{"a":1}\n{"a":"x"}\n')
    for options in ({}, {"schema": {"a": "string"}}):
        read = await folder.read("a.json", options)
        assert read.rows == [{"a": "x"}]
        ((_, _, error),) = read.rejected
        assert error.startswith("field 'a': expected string, found number; write such values in")
