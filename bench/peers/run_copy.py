"""The rows of a CSV file into a table by ``COPY``, and no more: what psql's ``copy`` does.

``python -m bench.peers.run_copy DATABASE TABLE FILE``; the table is there.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import asyncpg

from bench.peers.timing import measured


async def copy(database: str, table: str, file: Path) -> None:
    """Send the file's bytes as they are."""
    connection = await asyncpg.connect(database)
    await connection.copy_to_table(table, source=file, format="csv", header=True)
    await connection.close()


if __name__ == "__main__":
    measured(lambda: asyncio.run(copy(sys.argv[1], sys.argv[2], Path(sys.argv[3]))))
