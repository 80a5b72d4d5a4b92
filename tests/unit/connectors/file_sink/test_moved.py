"""Readers take finished files away: what was shown and is gone is no loss."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from dataflow.connect import Corrupted
from dataflow.connectors.file.sink_note import NOTE
from tests.unit.connectors.file_sink.rig import ROWS, Killed, Rig, rows_in

PARTS = {
    "csv parts": Rig(Path("out"), {"format": "csv", "rotateRows": 8}),
    "parquet parts": Rig(Path("out"), {"format": "parquet", "rotateRows": 8}),
}
STAGED = {"parquet": Rig(Path("out.parquet")), "arrow": Rig(Path("out.arrow")), **PARTS}
ALL = [*range(ROWS)]


def rig_of(mode: str, folder: Path) -> Rig:
    """Return a fresh pipeline of a mode."""
    return STAGED[mode].fresh(folder)


def taken(rig: Rig) -> list[int]:
    """Take everything away that is shown, as a consumer does; return the rows."""
    shown = rig.target.glob("part-*") if rig.target.is_dir() else [rig.target]
    rows = []
    for path in sorted(path for path in shown if path.exists()):
        rows += rows_in(path)
        path.unlink()
    return rows


def notes(rig: Rig) -> list[Path]:
    """Return the notes beside an output."""
    return [*rig.target.parent.rglob(f"*{NOTE}")]


@pytest.mark.parametrize("mode", PARTS)
async def test_a_directory_whose_parts_are_taken_away_goes_on_behind_them(
    mode: str, tmp_path: Path
) -> None:
    """That is what output directories are for; each run begins with the last commit again."""
    rig, rows = rig_of(mode, tmp_path), list[int]()
    for _ in range(3):
        await rig.live(final=False, checkpoints=1)
        rows += taken(rig)
    await rig.live()
    rows += taken(rig)
    await rig.live()
    rig.total += 10
    await rig.live()
    rows += taken(rig)
    assert rows == [*range(ROWS + 10)]


@pytest.mark.parametrize("mode", PARTS)
async def test_parts_are_taken_away_also_where_pipelines_share_a_directory(
    mode: str, tmp_path: Path
) -> None:
    """Each remembers what it has shown itself, whoever wrote last."""
    first = rig_of(mode, tmp_path)
    second = replace(first, pipeline="q", options={**first.options, "ifExists": "append"})
    await first.live()
    await second.live()
    assert sorted(taken(first)) == sorted([*ALL, *ALL])
    for rig in (first, second):
        rig.total += 10
        await rig.live()
        assert taken(rig) == [*range(ROWS, ROWS + 10)]


@pytest.mark.parametrize("mode", ["parquet", "arrow"])
async def test_a_file_that_is_taken_away_is_missed_only_where_rows_belong_into_it(
    mode: str,
    tmp_path: Path,
) -> None:
    """One file holds all rows: half of them under its name would pass for the whole."""
    rig = rig_of(mode, tmp_path)
    await rig.live()
    kept = rig.target.rename(tmp_path / "kept")
    await rig.live()
    await rig.live()
    assert not rig.target.exists()
    rig.total += 10
    with pytest.raises(Corrupted, match="put the file back"):
        await rig.live()
    kept.rename(rig.target)
    await rig.live()
    assert (rig.visible(), rig.hidden()) == ([*range(ROWS + 10)], [])


@pytest.mark.parametrize("mode", STAGED)
async def test_decided_rows_that_are_gone_before_they_were_shown_stop_the_pipeline(
    mode: str, tmp_path: Path
) -> None:
    """Going on would hide that they are lost, whatever was shown before."""
    counted = rig_of(mode, tmp_path / "count")
    await counted.live()
    rig = rig_of(mode, tmp_path / "out")
    rig.kill_at = len(counted.points) - 1 - counted.points[::-1].index("engine.decided")
    with pytest.raises(Killed):
        await rig.live()
    rig.kill_at = -1
    assert rig.last
    folder = rig.target / ".stage" if mode in PARTS else rig.target.parent
    for part in rig.last.finished:
        (folder / part.stage).unlink()
    with pytest.raises(Corrupted, match="neither staged nor there"):
        await rig.live()


@pytest.mark.parametrize("mode", STAGED)
async def test_a_part_is_noted_as_shown_only_when_its_name_is_durable(
    mode: str, tmp_path: Path
) -> None:
    """A power cut may undo a renaming that was noted, and nobody would miss the rows."""
    rig = rig_of(mode, tmp_path)
    await rig.live()
    synced, noted = (f"file-sink.reveal.{name}" for name in ("synced", "noted"))
    order = [name for name in rig.points if name in {synced, noted}]
    assert order[:2] == [synced, noted]
    assert noted not in order[::2]


@pytest.mark.parametrize("mode", STAGED)
async def test_a_lost_note_means_no_more_than_that_the_commit_is_repeated(
    mode: str, tmp_path: Path
) -> None:
    """It was torn by a power cut, or is from another release; the rows are where they were."""
    for text in ("", "torn", "x" * 100):
        rig = rig_of(mode, tmp_path / str(len(text)))
        await rig.live()
        (note,) = notes(rig)
        note.write_text(text)
        await rig.live()
        assert (rig.visible(), rig.hidden()) == (ALL, [])
        taken(rig)
        await rig.live()


@pytest.mark.parametrize("mode", STAGED)
async def test_a_new_lineage_knows_nothing_of_what_was_shown(mode: str, tmp_path: Path) -> None:
    """A new data directory counts its runs from the start: it stages under the same names."""
    rig = rig_of(mode, tmp_path)
    await rig.live()
    taken(rig)
    assert notes(rig)
    rig.run, rig.decided, rig.decided_rows = rig.run + 1, "", 0
    sink = rig.sink()
    await sink.open(rig.task(), None)
    assert notes(rig) == []
    await sink.close()
