"""The file sink dies between any two effects, and no row is lost, repeated or shown too early.

Broken on purpose, each of these is caught by the test named:

* no cut on recovery; no second commit; run left out of stage names -> ``killed_at_every_point``
"""

from __future__ import annotations

import os
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.unit.connectors.file_sink.rig import ROWS, Killed, Rig, text_batch_of

PARTS = {"rotateRows": 12}
MODES = {
    "csv": Rig(Path("out.csv")),
    "csv.gz": Rig(Path("out.csv.gz")),
    "json": Rig(Path("out.json")),
    "json.zst": Rig(Path("out.ndjson.zst")),
    "text": Rig(Path("out.txt"), rows=text_batch_of),
    "parquet": Rig(Path("out.parquet")),
    "csv parts": Rig(Path("out"), {"format": "csv", **PARTS}),
    "csv.gz parts": Rig(Path("out"), {"format": "csv", "compression": "gzip", **PARTS}),
    "json parts": Rig(Path("out"), {"format": "json", **PARTS}),
    "json.zst parts": Rig(Path("out"), {"format": "json", "compression": "zstd", **PARTS}),
    "text parts": Rig(Path("out"), {"format": "text", **PARTS}, rows=text_batch_of),
    "parquet parts": Rig(Path("out"), {"format": "parquet", **PARTS}),
}
IN_PLACE = {"csv", "csv.gz", "json", "json.zst", "text"}
KINDS = ("csv", "csv.gz", "parquet", "csv parts", "csv.gz parts", "parquet parts")
"""One of each way to stage, cut and show; formats differ in what they write between."""

ALL = [*range(ROWS)]

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own is made in it


@pytest.fixture
def folder() -> Generator[Path]:
    """Return a folder in memory, where there is one: thousands of fsyncs cost nothing there."""
    where = SHARED_MEMORY if os.access(SHARED_MEMORY, os.W_OK) else None
    with TemporaryDirectory(dir=where) as path:
        yield Path(path)


def rig_of(mode: str, folder: Path) -> Rig:
    """Return a fresh pipeline of a mode."""
    folder.mkdir(parents=True)
    return MODES[mode].fresh(folder)


async def points_of(mode: str, folder: Path) -> int:
    """Return how many points there are to die at."""
    rig = rig_of(mode, folder)
    await rig.live()
    return len(rig.points)


@pytest.mark.parametrize("mode", MODES)
async def test_an_undisturbed_run_shows_every_row_once_and_leaves_nothing_else(
    mode: str, folder: Path
) -> None:
    """The tests below compare with it, so it has to be right itself."""
    rig = rig_of(mode, folder / "out")
    await rig.live()
    assert (rig.visible(), rig.hidden()) == (ALL, [])


@pytest.mark.parametrize("mode", MODES)
async def test_killed_at_every_point_it_shows_what_was_decided_and_then_every_row_once(
    mode: str, folder: Path
) -> None:
    """Recovery cuts back, commits again and drops; whatever it forgets shows at some point."""
    for at in range(await points_of(mode, folder / "count")):
        rig = rig_of(mode, folder / str(at))
        rig.kill_at = at
        with pytest.raises(Killed):
            await rig.live()
        if mode not in IN_PLACE:
            assert rig.visible() == ALL[: len(rig.visible())]
            assert len(rig.visible()) <= rig.decided_rows
        await rig.survive()
        assert (at, rig.points[at], rig.visible(), rig.hidden()) == (at, rig.points[at], ALL, [])


@pytest.mark.parametrize("mode", KINDS)
async def test_killed_again_while_it_recovers_it_still_shows_every_row_once(
    mode: str, folder: Path
) -> None:
    """A recovery that is right only when it is let finish is no recovery."""
    count = await points_of(mode, folder / "count")
    for at in range(count // 3, count, 11):
        for again in range(0, count, 9):
            rig = rig_of(mode, folder / f"{at}-{again}")
            rig.kill_at = at
            with pytest.raises(Killed):
                await rig.live()
            rig.points, rig.kill_at = [], again
            try:
                await rig.live()
            except Killed:
                await rig.survive()
            assert (at, again, rig.visible(), rig.hidden()) == (at, again, ALL, [])


@pytest.mark.parametrize("mode", KINDS)
async def test_going_on_after_a_finished_run_adds_to_it_wherever_it_is_killed(
    mode: str, folder: Path
) -> None:
    """A parquet file is taken back into a stage; until its next end readers see the old one."""

    async def finished(folder: Path) -> Rig:
        rig = replace(rig_of(mode, folder), total=20)
        await rig.live()
        assert rig.visible() == ALL[:20]
        rig.total, rig.points = ROWS, []
        return rig

    counted = await finished(folder / "count")
    await counted.live()
    for at in range(len(counted.points)):
        rig = await finished(folder / str(at))
        rig.kill_at = at
        with pytest.raises(Killed):
            await rig.live()
        assert rig.visible()[:20] == ALL[:20]
        await rig.survive()
        assert (at, rig.visible(), rig.hidden()) == (at, ALL, [])


@pytest.mark.parametrize("mode", MODES)
async def test_a_run_that_ends_without_finishing_goes_on_where_it_stopped(
    mode: str, folder: Path
) -> None:
    """SIGTERM makes a checkpoint and no last one; ``close`` drops what came behind it."""
    rig = rig_of(mode, folder / "out")
    for _ in range(4):
        await rig.live(final=False, checkpoints=1)
    await rig.live()
    assert (rig.visible(), rig.hidden()) == (ALL, [])


@pytest.mark.parametrize("mode", MODES)
async def test_a_replay_that_keeps_the_sink_goes_on_in_the_new_lineage(
    mode: str, folder: Path
) -> None:
    """The new lineage is opened with the last committable of the old one."""
    rig = rig_of(mode, folder / "out")
    await rig.live(final=False, checkpoints=2)
    rig.lineage += 1
    await rig.live()
    assert (rig.visible(), rig.hidden()) == (ALL, [])


@pytest.mark.parametrize("mode", KINDS)
async def test_a_new_lineage_that_replaces_touches_nothing_before_its_seed_is_decided(
    mode: str, folder: Path
) -> None:
    """Killed before the decision the old rows are all there; after it the new ones will be."""

    async def before(folder: Path) -> Rig:
        rig = rig_of(mode, folder)
        await rig.live()
        options = {**rig.options, "ifExists": "replace"}
        return replace(rig, options=options, lineage=2, decided="", decided_rows=0, points=[])

    counted = await before(folder / "count")
    await counted.live()
    for at in range(len(counted.points)):
        rig = await before(folder / str(at))
        rig.kill_at = at
        with pytest.raises(Killed):
            await rig.live()
        if not rig.decided:
            assert rig.visible() == ALL
        await rig.survive()
        assert (at, rig.visible(), rig.hidden()) == (at, ALL, [])


APPENDABLE = [mode for mode in KINDS if mode != "parquet"]


@pytest.mark.parametrize("mode", APPENDABLE)
async def test_appending_never_cuts_what_was_there_wherever_it_is_killed(
    mode: str, folder: Path
) -> None:
    """What another pipeline wrote is not ours to cut."""

    async def behind_another(folder: Path) -> Rig:
        other = replace(rig_of(mode, folder), pipeline="other", total=10)
        await other.live()
        rig = replace(other, pipeline="p", options={**other.options, "ifExists": "append"})
        return replace(rig, decided="", decided_rows=0, run=10, points=[], total=20)

    expected = [*ALL[:10], *ALL[:20]]
    counted = await behind_another(folder / "count")
    await counted.live()
    assert counted.visible() == expected
    for at in range(len(counted.points)):
        rig = await behind_another(folder / str(at))
        rig.kill_at = at
        with pytest.raises(Killed):
            await rig.live()
        await rig.survive()
        assert (at, rig.visible(), rig.hidden()) == (at, expected, [])
