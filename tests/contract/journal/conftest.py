"""What the journal's tests share: the implementations, and records as an owner would write them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dataflow.app.clock import SystemClock
from dataflow.app.timed_journal import JournalTimes, TimedJournal
from dataflow.core.ids import CommandId, Offset, PipelineId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.cassandra import Cassandra
from dataflow.journal.contract import Held, Journal, Record, link
from dataflow.journal.memory import Memory, Store
from dataflow.journal.sqlite import Sqlite

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


class Author:
    """Makes the records that come next, in the log of a shard and in each pipeline."""

    def __init__(self) -> None:
        self._written: dict[str, int] = defaultdict(int)

    def __call__(
        self, held: Held, count: int = 1, pipeline: str = "flights", payload: bytes = b""
    ) -> list[Record]:
        head, made = held.head, []
        for offset in range(held.offset + 1, held.offset + count + 1):
            self._written[pipeline] += 1
            body = payload or f"{held.shard}:{offset} of {pipeline}".encode()
            head = link(head, Offset(offset), body)
            record = Record(
                offset=Offset(offset),
                pipeline=PipelineId(pipeline),
                sequence=SequenceNumber(self._written[pipeline]),
                type="ConfigUpdated",
                time=NOW,
                actor="ada",
                command_id=CommandId(f"c-{offset}"),
                payload=body,
                hash=head,
            )
            made.append(record)
        return made


@pytest.fixture
def author() -> Author:
    """Return an author who has written nothing yet."""
    return Author()


def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], Awaitable[Journal]]:
    """Return what opens an implementation over what its former openings have left."""
    match request.param:
        case "memory":
            store = Store()

            async def opened() -> Journal:
                return Memory(store)
        case "timed":
            store = Store()

            async def opened() -> Journal:
                return TimedJournal(Memory(store), JournalTimes(), SystemClock())
        case "sqlite":

            async def opened() -> Journal:
                return await Sqlite.open(tmp_path / "data")
        case _:
            options = request.getfixturevalue("keyspace")

            async def opened() -> Journal:
                return await Cassandra.open(options)

    return opened


@pytest.fixture(params=["memory", "timed", "sqlite", "cassandra"])
async def open_journal(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Callable[[], Awaitable[Journal]]]:
    """Open the journal, each time over what the ones before have left."""
    make = opener(request, tmp_path)
    async with AsyncExitStack() as stack:

        async def opened() -> Journal:
            await stack.aclose()
            journal = await make()
            stack.push_async_callback(journal.close)
            return journal

        yield opened


@pytest.fixture
async def journal(open_journal: Callable[[], Awaitable[Journal]]) -> Journal:
    """Open a journal that holds nothing."""
    return await open_journal()
