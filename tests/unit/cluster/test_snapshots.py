"""A snapshot never covers an event that the views may still lose."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from dataflow.cluster import shard
from dataflow.core import commands as c
from dataflow.core.errors import Code, Unavailable
from dataflow.core.ids import ShardId
from dataflow.journal.contract import Held, Snapshot
from dataflow.journal.memory import Memory
from tests.unit.cluster.test_host import CREATE, Seen, command, hosting


@pytest.fixture(autouse=True)
def _a_snapshot_behind_every_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard, "SNAPSHOT_EVENTS", 1)


@dataclass
class Lagging(Seen):
    """A projection that writes down what it was told when it is waited for, and takes its time."""

    settled_to: int = 0

    async def settled(self, shard: ShardId) -> None:
        told = len(self.events)
        await asyncio.sleep(0)
        self.settled_to = told


@dataclass
class Slow(Seen):
    """A projection that takes until it is let."""

    go: asyncio.Event = field(default_factory=asyncio.Event)

    async def settled(self, shard: ShardId) -> None:
        await self.go.wait()


class Stuck(Seen):
    """A projection that cannot write down what it is told."""

    async def settled(self, shard: ShardId) -> None:
        raise Unavailable("the views have stopped", code=Code.STORAGE)


class Watching(Memory):
    """A journal that notes whether the views were behind when a snapshot was saved."""

    def __init__(self, seen: Lagging) -> None:
        super().__init__()
        self.behind: list[bool] = []
        self._seen = seen

    async def save_snapshot(self, held: Held, snapshot: Snapshot) -> None:
        self.behind.append(snapshot.offset > self._seen.settled_to)
        await super().save_snapshot(held, snapshot)


async def test_a_snapshot_is_saved_after_the_views_hold_what_it_covers() -> None:
    """What is behind a snapshot is not replayed: a view that lost it would never see it again."""
    seen = Lagging()
    journal = Watching(seen)
    async with hosting(journal, seen) as host:
        await host.execute(CREATE)
        await host.execute(command(c.StartPipeline()))
    assert journal.behind
    assert not any(journal.behind)


async def test_views_that_have_stopped_hold_the_snapshot_back() -> None:
    """The next owner replays the log, and the views get what they missed."""
    journal = Memory()
    async with hosting(journal, Stuck()) as host:
        await host.execute(CREATE)
        await host.execute(command(c.StartPipeline()))
    assert not any(journal.store.snapshots.values())


async def test_no_command_waits_for_a_snapshot() -> None:
    """Views that took half a minute to catch up kept a shard's runs from beginning as long."""
    seen = Slow()
    journal = Memory()
    async with hosting(journal, seen) as host:
        try:
            async with asyncio.timeout(5):
                await host.execute(CREATE)
                assert (await host.execute(command(c.StartPipeline()))).changed
            assert not any(journal.store.snapshots.values())
        finally:
            seen.go.set()  # also where it is waited for: a failure must not hang
    (kept,) = [saved for saved in journal.store.snapshots.values() if saved]
    assert kept[-1].offset == 2  # on leaving, the rest was saved too
