"""Folders that a sink makes survive a power cut with what is in them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.unit.connectors.file_sink.rig import Rig, batch_of

TARGETS = {
    "out.csv": [".", "a"],
    "out.parquet": [".", "a"],
    "out": [".", "a", "a/b", "a/b/out"],
}
"""A target below ``a/b``, and the folders in which something new must be found again."""


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return what is synced from here on."""
    paths: list[Path] = []
    fsync = os.fsync

    def noted(fd: int) -> None:
        paths.append(Path(f"/proc/self/fd/{fd}").readlink())
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    return paths


@pytest.mark.parametrize("name", TARGETS)
async def test_every_folder_on_the_way_to_an_output_is_durable_before_its_seed_is_decided(
    name: str, tmp_path: Path, synced: list[Path]
) -> None:
    """Rows are decided in a file that a power cut would make unreachable."""
    rig = Rig(tmp_path / "a" / "b" / name, {} if "." in name else {"format": "csv"})
    sink = rig.sink()
    await sink.open(rig.task(), None)
    assert sorted({*synced}) == [tmp_path / folder for folder in TARGETS[name]]
    await sink.close()


async def test_folders_that_were_there_are_left_alone(tmp_path: Path, synced: list[Path]) -> None:
    """They may be a whole tree of somebody else's, and of a disk that is slow to sync."""
    rig = Rig(tmp_path / "out.csv")
    sink = rig.sink()
    await sink.open(rig.task(), None)
    assert synced == []
    await sink.commit(await sink.prepare(0, final=False))
    await sink.write(batch_of(0, 5))
    await sink.prepare(1, final=False)
    assert {*synced} == {tmp_path, rig.target}
    await sink.close()
