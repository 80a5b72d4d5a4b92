"""A sink is closed while its thread is busy, by a caller that loses patience."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.unit.connectors.file_sink.rig import PATIENCE_S, ROWS, Held, Rig, batch_of

EVERY = {
    "csv": Rig(Path("out.csv")),
    "parquet": Rig(Path("out.parquet")),
    "arrow": Rig(Path("out.arrow")),
    "csv parts": Rig(Path("out"), {"format": "csv"}),
    "parquet parts": Rig(Path("out"), {"format": "parquet"}),
}


@pytest.mark.parametrize("mode", EVERY)
async def test_a_cancelled_close_still_cuts_what_is_undecided_and_lets_the_next_writer_in(
    mode: str, tmp_path: Path
) -> None:
    """Its place is behind a write that goes on; given up there, the lock would stay for ever."""
    held, rig = Held(), EVERY[mode].fresh(tmp_path)
    sink = rig.sink()
    await sink.open(rig.task(), None)
    await sink.commit(await sink.prepare(0, final=False))
    await sink.write(batch_of(0, 5))
    rig.decided, rig.decided_rows = (await sink.prepare(1, final=False)).model_dump_json(), 5
    rig.at_point = held
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(sink.write(batch_of(5, 10)))
        assert await asyncio.to_thread(held.busy.wait, PATIENCE_S)
        writing.cancel()
        closing = tasks.create_task(sink.close())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait({writing, closing})
    assert closing.cancelled()
    held.free.set()
    await asyncio.to_thread(sink._thread.shutdown, wait=True)
    assert rig.visible() == ([*range(5)] if mode == "csv" else [])
    await rig.live()
    assert (rig.visible(), rig.hidden()) == ([*range(ROWS)], [])
