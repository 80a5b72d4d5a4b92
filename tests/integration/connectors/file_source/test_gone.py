"""Half-read files that are not there when a run begins."""

from __future__ import annotations

import gzip
import os
from collections.abc import Mapping
from contextlib import aclosing
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow.connect import Rejected, Split, Waiting
from dataflow.connectors.file.source import FileSource
from dataflow.connectors.file.source_options import FilePosition
from tests.integration.connectors.file_source.conftest import Folder

NAMES = ("a.csv", "a.csv.gz", "a.parquet")
WATCH: Mapping[str, object] = {"watch": True}
ROWS = 200
CHUNKS = (90, 138)
"""Bytes; the second is a divisor of what the rows below take, so that no chunk is a short one."""


def write(folder: Folder, name: str, tail: str = "") -> Path:
    """Write a file of several chunks, or row groups."""
    path = folder.path / name
    text = "n\n" + "".join(f"{n}\n" for n in range(ROWS)) + tail
    if name.endswith("parquet"):
        pq.write_table(pa.table({"n": range(ROWS)}), path, row_group_size=50)
    else:
        path.write_bytes(gzip.compress(text.encode()) if name.endswith("gz") else text.encode())
    return path


async def left(
    folder: Folder, options: Mapping[str, object], chunk: int = CHUNKS[0]
) -> tuple[Split, list[FilePosition]]:
    """Return the positions that a run may leave in the only file."""
    source = folder.source("", options, chunk=chunk)
    await source.open(None)
    (split,) = await source.splits()
    found, rows = [], 0
    async with aclosing(source.read(split, None)) as chunks:
        while rows < ROWS:
            read = await anext(chunks)
            rows += read.batch.num_rows
            found.append(FilePosition.model_validate_json(read.resume_at.model_dump_json()))
    assert len(found) > 1
    return split, found


async def opened(folder: Folder, options: Mapping[str, object]) -> FileSource:
    """Return the source of the next run."""
    source = folder.source("", options)
    await source.open(None)
    return source


@pytest.mark.parametrize("name", NAMES)
async def test_a_half_read_file_that_is_gone_is_waited_for_or_refused(
    folder: Folder, tmp_path: Path, name: str
) -> None:
    """The other files alone are not what the pipeline is to read; back again, it is listed."""
    path = write(folder, name)
    split, positions = await left(folder, {})
    path.rename(tmp_path / name)
    write(folder, f"other-{name}")
    source = await opened(folder, {})
    strict = await opened(folder, {"mustExist": True})
    for position in positions[:-1]:
        with pytest.raises(Waiting, match=f"{name}: there is no such file any more, .* put it"):
            await source.gone(split, position)
        with pytest.raises(Rejected, match="there is no such file any more"):
            await strict.gone(split, position)
    (tmp_path / name).rename(path)
    await source.gone(split, positions[0])
    assert split in await source.splits()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("chunk", CHUNKS)
@pytest.mark.parametrize("options", [{}, WATCH], ids=["bounded", "watching"])
async def test_a_file_that_was_read_to_its_end_may_be_gone(
    folder: Folder, name: str, chunk: int, options: Mapping[str, object]
) -> None:
    """A crash may come before the end is noted; rotated logs, and inputs, are tidied away."""
    path = write(folder, name)
    split, positions = await left(folder, options, chunk)
    path.rename(folder.path.parent / "gone")
    write(folder, f"other-{name}")
    source = await opened(folder, options)
    await source.gone(split, positions[-1])
    assert split not in await source.splits()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("chunk", CHUNKS)
async def test_a_watched_file_that_is_gone_with_something_unread_is_refused(
    folder: Folder, name: str, chunk: int
) -> None:
    """As where it goes while the pipeline runs: its rows are lost, and somebody has to know."""
    path = write(folder, name)
    split, positions = await left(folder, WATCH, chunk)
    path.rename(folder.path.parent / "gone")
    write(folder, f"other-{name}")
    source = await opened(folder, WATCH)
    for position in positions[:-1]:
        with pytest.raises(Rejected, match=f"^{name}: it was deleted with .* replay") as refused:
            await source.gone(split, position)
        assert refused.value.code == "SOURCE_CHANGED"


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
async def test_half_a_line_at_the_end_of_a_watched_file_that_is_gone_is_unread(
    folder: Folder, name: str
) -> None:
    """Its writer may have written the other half before it went."""
    path = write(folder, name, "20")
    split, positions = await left(folder, WATCH)
    path.rename(folder.path.parent / "gone")
    write(folder, f"other-{name}")
    with pytest.raises(Rejected, match="it was deleted with"):
        await (await opened(folder, WATCH)).gone(split, positions[-1])


async def test_a_file_with_a_name_that_is_no_text_is_named_all_the_same(folder: Folder) -> None:
    """Positions are JSON; the bytes of a name may be anything."""
    name = os.fsdecode(b"\xff.csv")
    path = write(folder, name)
    split, positions = await left(folder, WATCH)
    path.rename(folder.path.parent / "gone")
    write(folder, "other.csv")
    with pytest.raises(Rejected, match=r"^\\udcff\.csv: it was deleted"):
        await (await opened(folder, WATCH)).gone(split, positions[0])


async def test_a_position_that_does_not_say_whether_all_was_read_stops_nothing(
    folder: Folder,
) -> None:
    """An older release left such positions of every file that it had watched."""
    path = write(folder, "a.csv")
    split, positions = await left(folder, WATCH)
    write(folder, "b.csv")
    path.unlink()
    source = await opened(folder, WATCH)
    await source.gone(split, positions[0].model_copy(update={"name": ""}))
    with pytest.raises(Rejected, match="with bytes unread"):
        await source.gone(split, positions[0])
