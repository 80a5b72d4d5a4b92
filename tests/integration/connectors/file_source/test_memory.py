"""What reading takes is bounded by chunks, not by the file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.connectors.file_source.conftest import Folder

SCRIPT = """
import asyncio, resource, sys
from pathlib import Path
from tests.integration.connectors.file_source.conftest import Folder

async def main(path):
    source = Folder(path.parent).source(path.name)
    await source.open(None)
    rows = 0
    for split in await source.splits():
        async for chunk in source.read(split, None):
            rows += chunk.batch.num_rows
    print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10)

asyncio.run(main(Path(sys.argv[1])))
"""

ROWS = 300_000
LINE = b'1234567,"some text, and more of it",0.123456789,2024-01-02T03:04:05\n'


def peak(path: Path) -> tuple[int, int]:
    """Read a file in a process of its own; return its rows, and its resident memory in MiB."""
    command = [sys.executable, "-c", SCRIPT, str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[4]
    )
    rows, memory = map(int, done.stdout.split())
    return rows, memory


@pytest.mark.slow
def test_ten_times_the_file_takes_no_more_memory(folder: Folder) -> None:
    """Pipelines read files larger than their machine; 64 MiB is what the product allows."""
    with (folder.path / "large.csv").open("wb") as large:
        for _ in range(10):
            large.write(LINE * ROWS)
    folder.write("small.csv", LINE * ROWS)
    (few, small), (many, much) = (peak(folder.path / f"{size}.csv") for size in ("small", "large"))
    assert (few, many) == (ROWS - 1, 10 * ROWS - 1)  # the first line is taken for the header
    assert much - small < 64
