"""Values too large for one statement: in chunks, under the hash of what they are.

A conditional write goes through Paxos, which stores it three times over; what is large is written
plainly BEFORE, and the conditional write only names it. Nobody reads a value that nothing names,
so one whose conditional write was refused does no harm. It stays behind, for its writer cannot
know whether an older attempt of its own will still name it.
"""

from __future__ import annotations

import asyncio
import hashlib

from dataflow.core.errors import Corrupted
from dataflow.journal.cassandra.rounds import write_all
from dataflow.journal.cassandra.session import Session

CHUNK_BYTES = 256 << 10
"""What the server holds in one piece of memory at a time; a mutation may be 8 MiB at the least."""

IN_FLIGHT_MAX = 4
"""Chunks, so one MiB: more fill the server's queue and gain nothing."""

PAGE_CHUNKS = 4


class LargeValues:
    """Writes, reads and drops values of any size."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._gate = asyncio.Semaphore(IN_FLIGHT_MAX)

    async def put(self, owner: str, content: bytes) -> bytes:
        """Write a value durably and return its name, which is ``owner``'s own."""
        name = _name(owner, content)

        async def write(start: int) -> None:
            chunk = content[start : start + CHUNK_BYTES]
            async with self._gate:
                await self._session.run("save_chunk", name, start // CHUNK_BYTES, chunk)

        await write_all(range(0, len(content), CHUNK_BYTES), write, IN_FLIGHT_MAX)
        return name

    async def get(self, owner: str, name: bytes) -> bytes:
        """Return a value.

        Raises:
            Corrupted: it is not there, or not whole.
        """
        chunks: list[bytes] = []
        while True:
            page = await self._session.run("chunks", name, len(chunks), PAGE_CHUNKS)
            chunks += [content for (content,) in page]
            if len(page) < PAGE_CHUNKS:
                break
        content = b"".join(chunks)
        if _name(owner, content) != name:
            raise Corrupted(
                f"{self._session}: value {name.hex()[:8]} of {owner} is not what was written"
            )
        return content

    async def drop(self, name: bytes) -> None:
        """Forget a value that nothing names any more."""
        await self._session.run("drop_chunks", name)


def _name(owner: str, content: bytes) -> bytes:
    return hashlib.sha256(f"{owner}\0".encode() + content).digest()
