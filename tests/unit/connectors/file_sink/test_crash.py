"""The file sink dies between any two effects, and no row is lost, repeated or shown too early.

Broken on purpose, each of these is caught by the test named:

* no cut on recovery; no second commit; run left out of stage names -> ``killed_at_every_point``
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

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
ALL = [*range(ROWS)]


def rig_of(mode: str, folder: Path) -> Rig:
    """Return a fresh pipeline of a mode."""
    folder.mkdir(parents=True)
    known = MODES[mode]
    return replace(known, target=folder / known.target, points=[], clock=type(known.clock)())


async def points_of(mode: str, folder: Path) -> int:
    """Return how many points there are to die at."""
    rig = rig_of(mode, folder)
    await rig.live()
    return len(rig.points)


@pytest.mark.parametrize("mode", MODES)
async def test_an_undisturbed_run_shows_every_row_once_and_leaves_nothing_else(
    mode: str, tmp_path: Path
) -> None:
    """The tests below compare with it, so it has to be right itself."""
    rig = rig_of(mode, tmp_path / "out")
    await rig.live()
    assert (rig.visible(), rig.hidden()) == (ALL, [])


@pytest.mark.parametrize("mode", MODES)
async def test_killed_at_every_point_it_shows_what_was_decided_and_then_every_row_once(
    mode: str, tmp_path: Path
) -> None:
    """Recovery cuts back, commits again and drops; whatever it forgets shows at some point."""
    for at in range(await points_of(mode, tmp_path / "count")):
        rig = rig_of(mode, tmp_path / str(at))
        rig.kill_at = at
        with pytest.raises(Killed):
            await rig.live()
        if mode not in IN_PLACE:
            assert rig.visible() == ALL[: len(rig.visible())]
            assert len(rig.visible()) <= rig.decided_rows
        await rig.survive()
        assert (at, rig.points[at], rig.visible(), rig.hidden()) == (at, rig.points[at], ALL, [])
