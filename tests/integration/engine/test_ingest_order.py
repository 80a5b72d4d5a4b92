"""Batches enter an ingest log in the order in which they came, also while it is being opened."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from dataflow.engine.ingest.file_logs import FileLog
from dataflow.engine.ingest.log import Threads, parse_in
from dataflow.engine.ingest.store import Store


async def test_who_finds_a_log_open_does_not_overtake_who_waited_for_that(tmp_path: Path) -> None:
    """Between the end of the opening and the turn of those who wait there are turns of others."""
    entered = []
    with ThreadPoolExecutor(1) as threads:
        log = FileLog(
            Store(tmp_path / "log", 1 << 20), Threads(threads, threads), parse_in(threads)
        )

        async def enter(name: str) -> None:
            await log.open()
            entered.append(name)

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(enter("first"))
            while log._opening is None or not log._opening.done():  # noqa: ASYNC110 - turn by turn
                await asyncio.sleep(0)
            await enter("second")
        log.store.close()
    assert entered == ["first", "second"]
