"""A process with rows in an open transaction, which commits when it is told to.

python -m tests.fault.connectors.postgres_sink.frozen URL
"""

from __future__ import annotations

import asyncio
import sys

from dataflow.core.errors import DataFlowError
from tests.integration.connectors.postgres_sink.rig import Rig, rows_of


async def live(url: str) -> None:
    """Write a row, say so, wait for a line, commit, and say how that ended."""
    rig = Rig(url, {})
    sink = await rig.open()
    await sink.write(rows_of(id=[1]))
    print("written", flush=True)  # noqa: T201 - the test waits for it
    await asyncio.to_thread(sys.stdin.readline)
    try:
        await rig.commit(sink)
        told = "committed"
    except DataFlowError as error:
        told = error.code
    print(told, flush=True)  # noqa: T201 - the test waits for it
    await sink.close()


if __name__ == "__main__":
    asyncio.run(live(sys.argv[1]))
