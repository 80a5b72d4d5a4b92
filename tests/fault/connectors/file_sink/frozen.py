"""A process whose file sink holds its lock, says so, and is then left to the test that froze it.

python -m tests.fault.connectors.file_sink.frozen MODE FOLDER
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.fault.connectors.file_sink.writer import load


async def hold(mode: str, folder: Path) -> None:
    """Open the sink as a run does, and write nothing for ever."""
    rig = load(mode, folder)
    sink = rig.sink()
    await sink.open(rig.task(rig.run + 1), rig.last)
    print("held", flush=True)  # noqa: T201 - the test waits for it
    await asyncio.sleep(3600)


if __name__ == "__main__":
    asyncio.run(hold(sys.argv[1], Path(sys.argv[2])))
