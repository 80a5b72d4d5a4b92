"""Small batches are gathered before they are written, and never for too long."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.connectors.file import sink as file_sink
from tests.unit.connectors.file_sink.rig import Rig, batch_of, text_batch_of

APPENDED = "file-sink.write.appended"


async def test_a_batch_of_other_columns_is_written_behind_those_before_it(tmp_path: Path) -> None:
    """Rows of two schemas make no one batch; json holds both."""
    rig = Rig(tmp_path / "out.json")
    sink = rig.sink(batch_size=1_000)
    await sink.open(rig.task(), None)
    await sink.commit(await sink.prepare(0, final=False))
    await sink.write(batch_of(0, 2))
    await sink.write(text_batch_of(2, 3))
    await sink.prepare(1, final=True)
    await sink.close()
    written = rig.target.read_text().splitlines()
    assert [line.split(":")[0] for line in written] == ['{"id"', '{"id"', '{"line"']


async def test_long_rows_are_written_before_they_are_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thousand rows of a megabyte each would be held in memory otherwise."""
    monkeypatch.setattr(file_sink, "GATHER_BYTES", 2 * batch_of(0, 5).nbytes)
    rig = Rig(tmp_path / "out.csv")
    sink = rig.sink(batch_size=1_000)
    await sink.open(rig.task(), None)
    appended = []
    for start in range(0, 25, 5):
        await sink.write(batch_of(start, start + 5))
        appended.append(rig.points.count(APPENDED))
    await sink.close()
    assert appended == [0, 1, 1, 2, 2]
