"""The file sink's rows survive a power cut from ``prepare`` on, and stay in sight from ``commit``.

Broken on purpose, by taking out one sync at a time, each is missed by a test here. Two guard one
name, that of a converted part: in ``Stages.finish`` and at the end of ``prepare``. They are missed
when both are out.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dataflow.connectors.file.write_file import GrowingFile
from tests.fault.power_cut.disk import Disk
from tests.unit.connectors.file_sink.rig import Rig, batch_of

MODES = {
    "csv": Rig(Path("out.csv")),
    "csv.gz": Rig(Path("out.csv.gz")),
    "parquet": Rig(Path("out.parquet")),
    "csv parts": Rig(Path("out"), {"format": "csv", "rotateRows": 12}),
    "parquet parts": Rig(Path("out"), {"format": "parquet", "rotateRows": 12}),
}


def rig_of(mode: str, folder: Path) -> Rig:
    """Return a fresh pipeline of a mode."""
    return MODES[mode].fresh(folder)


def rows_lost(disk: Disk) -> list[str]:
    """Return the files with rows that a power cut would harm; a lock holds none."""
    return [name for name in disk.lost() if not name.endswith("lock")]


def shown(rig: Rig) -> list[Path]:
    """Return the files that readers see; there are some."""
    found = sorted(rig.target.glob("part-*")) if rig.target.is_dir() else [rig.target]
    assert all(path.is_file() for path in found)
    assert found
    return found


@pytest.mark.parametrize("final", [False, True])
@pytest.mark.parametrize("mode", MODES)
async def test_what_is_prepared_survives(
    mode: str, disk: Disk, tmp_path: Path, *, final: bool
) -> None:
    """What was prepared is decided next, and then its rows are read nowhere again."""
    rig = rig_of(mode, tmp_path)
    sink = rig.sink()
    await sink.open(rig.task(), None)
    await sink.commit(await sink.prepare(0, final=False))
    for number in range(1, 4):
        await sink.write(batch_of(5 * number, 5 * number + 5))
        await sink.prepare(number, final=final and number == 3)
        assert rows_lost(disk) == []
    await sink.close()


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_committed_stays_in_sight(mode: str, disk: Disk, tmp_path: Path) -> None:
    """A name that is gone after a power cut is a row that readers had seen."""
    rig = rig_of(mode, tmp_path)
    sink = rig.sink()
    await sink.open(rig.task(), None)
    await sink.commit(await sink.prepare(0, final=False))
    await sink.write(batch_of(0, 30))
    await sink.commit(await sink.prepare(1, final=True))
    assert rig.visible() == [*range(30)]
    assert rows_lost(disk) == []
    await sink.close()


@pytest.mark.parametrize("mode", ["parquet", "parquet parts"])
async def test_a_spent_stage_goes_only_after_what_was_made_of_it_survives(
    mode: str, disk: Disk, tmp_path: Path
) -> None:
    """Both could be gone at once otherwise."""
    rig = rig_of(mode, tmp_path)
    losses: list[str] = []

    def look(point: str) -> None:
        if point == "file-sink.reveal.synced":
            losses.extend(name for name in disk.lost() if name.endswith(".parquet"))

    rig.at_point = look
    await rig.live()
    assert "file-sink.reveal.synced" in rig.points
    assert losses == []


@pytest.mark.parametrize("mode", ["parquet", "csv parts"])
async def test_what_is_replaced_does_not_come_back(mode: str, disk: Disk, tmp_path: Path) -> None:
    """Old rows beside the new ones would be rows that nobody wrote."""
    old = rig_of(mode, tmp_path)
    await old.live()
    former = shown(old)
    rig = replace(old, options={**old.options, "ifExists": "replace"}, lineage=2, decided="")
    sink = rig.sink()
    await sink.open(rig.task(99), None)
    await sink.commit(await sink.prepare(0, final=False))
    assert [path.name for path in former if disk.left_of(path) is not None] == []
    await sink.close()


def test_a_new_file_has_a_name_that_survives(disk: Disk, tmp_path: Path) -> None:
    """Synced bytes that no folder names are lost all the same."""
    file = GrowingFile.create(tmp_path / "out")
    assert disk.left_of(file.path) is not None
    file.close()


def test_a_cut_survives(disk: Disk, tmp_path: Path) -> None:
    """Else rows of a run that was cut come back behind rows of the next one."""
    file = GrowingFile.create(tmp_path / "out")
    file.append(b"decided, and not")
    file.sync()
    file.cut(7)
    assert disk.left_of(file.path) == b"decided"
    file.close()
