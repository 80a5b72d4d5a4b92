"""A Cassandra server that is frozen, killed or wrongly set, under a journal that goes on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from dataflow.core.errors import Rejected
from dataflow.core.ids import ShardId
from dataflow.journal.cassandra import Cassandra, Options, schema
from deploy.stack import Cassandra as Server
from deploy.stack import cassandra as stack
from tests.fault.journal.writing import Owners, missing

SHARDS = 6
"""That are written at once, so that each kill meets several writes."""

KILLS = 4
"""Each of them meets six shards in the middle of a write; twenty were tried by hand."""

RESTART_S_MAX = 120
"""A start takes five seconds, or many times that on a busy machine."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start a server that these tests may kill."""
    with Server(tmp_path_factory.mktemp("cassandra")) as server:
        yield server


@asynccontextmanager
async def owners(server: Server, keyspace: str) -> AsyncIterator[tuple[Owners, Options]]:
    """Have shards written all the time."""
    options = Options([server.address], keyspace, timeout=timedelta(seconds=1))
    journal = await Cassandra.open(options, 200)
    owners = Owners(journal)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(owners.append(ShardId(n))) for n in range(SHARDS)]
        tasks.append(group.create_task(owners.decide(ShardId(SHARDS))))
        await progress(owners)
        yield owners, options
        for task in tasks:
            task.cancel()
    await journal.close()


async def progress(owners: Owners) -> None:
    """Wait until every owner has been told once more that something is durable."""

    def counts() -> list[int]:
        appended = [len(owners.appended[ShardId(n)]) for n in range(SHARDS)]
        return [*appended, owners.decided[ShardId(SHARDS)]]

    before = counts()
    await until(lambda: all(now > then for now, then in zip(counts(), before, strict=True)))


async def until(reached: Callable[[], bool]) -> None:
    """Look again and again, for so long."""
    async with asyncio.timeout(RESTART_S_MAX):
        while not reached():  # noqa: ASYNC110 - what is looked at is another's count
            await asyncio.sleep(0.05)


async def test_a_frozen_server_loses_and_repeats_nothing(server: Server) -> None:
    """The driver gives up; the server has the writes in its sockets and goes on with them later."""
    async with owners(server, "frozen") as (writing, options):
        for _ in range(3):
            enough = writing.unknown + SHARDS
            server.pause()
            try:
                await until(lambda enough=enough: writing.unknown >= enough)  # type: ignore[misc]  # this turn's
            finally:
                server.resume()
            await progress(writing)
    journal = await Cassandra.open(options)
    assert await missing(journal, writing) == []
    await journal.close()


@pytest.mark.slow
async def test_no_acknowledged_write_is_missing_after_kill_9(server: Server) -> None:
    """Killed in the moment of an answer, again and again: what was answered is on the disk."""
    async with owners(server, "killed") as (writing, options):
        for _ in range(KILLS):
            killed = asyncio.Event()

            def kill(killed: asyncio.Event = killed) -> None:
                if not killed.is_set():
                    server.kill()
                    killed.set()

            writing.told = kill
            async with asyncio.timeout(RESTART_S_MAX):
                await killed.wait()
            await asyncio.to_thread(server.start, 0)
            await progress(writing)
    journal = await Cassandra.open(options)
    assert await missing(journal, writing) == []
    assert writing.unknown >= KILLS
    await journal.close()


async def test_a_server_that_may_lose_writes_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the server's name and what to set, before anything is written to it."""
    monkeypatch.setitem(stack.SETTINGS, "commitlog_sync", "periodic")
    monkeypatch.setitem(stack.SETTINGS, "commitlog_sync_period", "10000ms")
    monkeypatch.setitem(stack.SETTINGS, "paxos_variant", "v1")
    monkeypatch.setitem(stack.SETTINGS, "paxos_state_purging", "legacy")
    with Server(tmp_path) as server:
        options = Options([server.address], "refused")
        for setting, wanted in (("commitlog_sync", "batch"), ("paxos_variant", "v2")):
            kept = {setting: schema.SETTINGS[setting]}
            with monkeypatch.context() as only:
                only.setattr(schema, "SETTINGS", kept)
                with pytest.raises(Rejected) as told:
                    await Cassandra.open(options)
            assert server.address.partition(":")[0] in told.value.message
            assert f"set {setting}: {wanted} in its cassandra.yaml" in told.value.message
