"""Files of Arrow's IPC format: with a footer, and as streams."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow as pa
import pytest

from dataflow.connect import Rejected, Waiting
from tests.integration.connectors.file_source.conftest import Folder

Codec = Literal["lz4", "zstd"]
ROWS = [{"n": n, "s": f"text {n}"} for n in range(150)]
NAMES = ["in.arrow", "in.arrows"]


def write(
    path: Path, table: pa.Table | None = None, rows: int = 45, codec: Codec | None = None
) -> Path:
    """Write a file of several record batches, or a stream if its name ends in an s."""
    table = table or pa.Table.from_pylist(ROWS)
    make = pa.ipc.new_stream if path.suffix == ".arrows" else pa.ipc.new_file
    options = pa.ipc.IpcWriteOptions(compression=codec)
    with make(str(path), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=rows)
    return path


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("batch", [0, 40])
async def test_reading_goes_on_within_a_record_batch(folder: Folder, name: str, batch: int) -> None:
    """Record batches may hold millions of rows; a position is finer than that."""
    write(folder.path / name)
    whole = await folder.read(name, batch=batch)
    assert whole.rows == ROWS
    assert len(whole.sizes) == (7 if batch else 4)
    assert [position.at_end for _, position, _, _ in whole.positions][-2:] == [False, True]
    for split, position, before, _ in whole.positions:
        rest = await folder.read(name, batch=batch, start={split.id: position})
        assert rest.rows == ROWS[before:]


@pytest.mark.parametrize("name", NAMES)
async def test_the_end_is_behind_every_row(folder: Folder, name: str) -> None:
    """Where a pipeline begins with what comes, it is the place to begin."""
    write(folder.path / name)
    source = folder.source(name)
    await source.open(None)
    (split,) = await source.splits()
    end = await source.latest(split)
    assert (end.row_group, end.at_end) == (4, True)
    assert (await folder.read(name, start={split.id: end})).rows == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("codec", ["lz4", "zstd"])
async def test_compressed_batches_are_read(folder: Folder, name: str, codec: Codec) -> None:
    """Feather compresses inside unless it is told not to."""
    write(folder.path / name, codec=codec)
    assert (await folder.read(name)).rows == ROWS


async def test_columns_are_read_in_the_types_that_expressions_take(folder: Folder) -> None:
    """How a program stores text, in views or dictionaries that grow, must make no difference."""
    pl.DataFrame({"s": ["a", "b" * 20]}).write_ipc(folder.path / "1.arrow")
    chunks = [pa.array(values).dictionary_encode() for values in (["a"], ["b", "a"])]
    schema = pa.schema([("s", chunks[0].type)])
    with pa.ipc.new_stream(str(folder.path / "2.arrow"), schema) as stream:
        for chunk in chunks:
            stream.write_batch(pa.record_batch([chunk], schema=schema))
    write(folder.path / "3.arrow", pa.table({"s": pa.array(["c"], pa.large_string())}))
    read = await folder.read("*.arrow")
    assert [row["s"] for row in read.rows] == ["a", "b" * 20, "a", "b", "a", "c"]
    assert read.schemas == {pa.schema([("s", pa.string())])}


@pytest.mark.parametrize("name", NAMES)
async def test_batches_without_rows_are_passed_over(folder: Folder, name: str) -> None:
    """Programs that filter write them."""
    table = pa.table({"n": [1, 2]})
    make = pa.ipc.new_stream if name.endswith("s") else pa.ipc.new_file
    with make(str(folder.path / name), table.schema) as writer:
        for size in (0, 1, 0, 2, 0):
            (batch,) = table.slice(0, size).to_batches() or [
                pa.record_batch({"n": pa.array([], pa.int64())})
            ]
            writer.write_batch(batch)
    whole = await folder.read(name)
    assert [row["n"] for row in whole.rows] == [1, 1, 2]
    for split, position, before, _ in whole.positions:
        rest = await folder.read(name, start={split.id: position})
        assert rest.rows == whole.rows[before:]


@pytest.mark.parametrize("name", NAMES)
async def test_a_file_that_is_cut_anywhere_is_refused_by_name(folder: Folder, name: str) -> None:
    """A stream that is cut between two batches still looks whole, but for its end."""
    whole = write(folder.path / "whole.arrow").rename(folder.path / "whole")
    if name.endswith("s"):
        write(whole.with_name("whole.arrows")).rename(whole)
    data = whole.read_bytes()
    path = folder.path / name
    for size in range(0, len(data), 97):
        path.write_bytes(data[:size])
        with pytest.raises(Rejected, match=f"{name}: (it does not end|damaged)") as refused:
            await folder.read(name)
        assert refused.value.code == "CORRUPTED"
    path.write_bytes(data)
    assert (await folder.read(name)).rows == ROWS


def _pointing_outside(data: bytes) -> bytes:
    """Return a file in which a text ends behind its buffer."""
    first = pa.array([f"text {n}" for n in range(45)]).buffers()[1]
    assert first
    ends = first.to_pybytes()[: 46 * 4]
    assert ends in data
    return data.replace(ends, ends[:-4] + b"\xff\xff\xff\x7f")


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("in.arrow", _pointing_outside),
        ("in.arrows", _pointing_outside),
        ("in.arrow", lambda data: data.replace(b"text 7", b"text \xff")),
        ("in.arrows", lambda data: data[:4] + b"\xff\xff\xff\x7f" + data[8:]),
        ("in.arrow", lambda data: data[:-10] + b"\xff\xff\xff\x7f" + data[-6:]),
    ],
    ids=["offset", "offset in a stream", "no UTF-8", "length in a stream", "length of the footer"],
)
async def test_damage_is_refused_and_never_ends_the_process(
    folder: Folder, name: str, damage: Callable[[bytes], bytes]
) -> None:
    """Arrow trusts what a file says about itself, and would read other memory."""
    path = write(folder.path / name)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(Rejected, match=f"{name}: damaged") as refused:
        await folder.read(name)
    assert refused.value.code == "CORRUPTED"


async def test_damage_behind_good_rows_loses_none_of_them(folder: Folder) -> None:
    """What was read before is decided before."""
    path = write(folder.path / "a.arrow")
    path.write_bytes(path.read_bytes().replace(b"text 100", b"text \xff00"))
    source = folder.source("a.arrow")
    await source.open(None)
    (split,) = await source.splits()
    rows: list[object] = []

    async def read() -> None:
        async for chunk in source.read(split, None):
            rows.extend(chunk.batch.to_pylist())

    with pytest.raises(Rejected, match=r"a\.arrow: damaged"):
        await read()
    assert rows == ROWS[:90]


async def test_rows_behind_the_end_of_a_stream_are_not_passed_over(folder: Folder) -> None:
    """Two streams, one behind the other, are read as the first of them by others."""
    data = write(folder.path / "in.arrows").read_bytes()
    folder.write("in.arrows", data + data)
    with pytest.raises(Rejected, match=r"the stream ends at byte .*, where the file goes on"):
        await folder.read("in.arrows")


@pytest.mark.parametrize(
    ("data", "complaint"),
    [(b"FEA1" + b"x" * 99, "Feather of version 1"), (b"PAR1" * 9, "it begins like none")],
)
async def test_other_files_are_refused_by_name(folder: Folder, data: bytes, complaint: str) -> None:
    """The older Feather has the same extension."""
    folder.write("a.feather", data)
    with pytest.raises(Rejected, match=f"a.feather: .*{complaint}"):
        await folder.read("a.feather")


async def test_files_must_agree_and_name_no_column_twice(folder: Folder) -> None:
    """Types are pinned; a cast that nobody asked for could change values."""
    write(folder.path / "1.arrow", pa.table({"a": [1]}))
    write(folder.path / "2.ipc", pa.table({"a": ["x"]}))
    with pytest.raises(Rejected, match="'a' is string, was int64") as refused:
        await folder.read("", {"format": "arrow"})
    assert refused.value.code == "SOURCE_CHANGED"
    write(folder.path / "twice.arrow", pa.table([[1], [2]], names=["a", "a"]))
    with pytest.raises(Rejected, match="has a column twice: 'a'"):
        await folder.read("twice.arrow")


async def test_a_watched_file_waits_for_its_end(folder: Folder) -> None:
    """It is read once, when its writer is done."""
    for name in NAMES:
        path = write(folder.path / name)
        size = path.stat().st_size
        data = path.read_bytes()
        os.truncate(path, size - 1)
        source = folder.source(name, {"watch": True})
        with pytest.raises(Waiting):
            await source.open(None)
        path.write_bytes(data)
        await source.open(None)
        assert len(await source.splits()) == 1
