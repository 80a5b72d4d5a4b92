"""What the journal in Cassandra adds: nodes that start at once, histories, damage."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from cassandra.cluster import Session

from dataflow.core.checkpoint import Stamp
from dataflow.core.errors import Code, Corrupted, Fenced, Rejected, Unavailable
from dataflow.core.ids import Offset, PipelineId, Run, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.cassandra import Cassandra, Options, audit, by_pipeline, registers, schema
from dataflow.journal.contract import AppendId, Decision, Held, Journal, Nonce, Record, Snapshot

Author = Callable[..., list[Record]]
Opener = Callable[[], Awaitable[Cassandra]]

SHARD = ShardId(3)
FLIGHTS = PipelineId("flights")


@pytest.fixture
async def node(keyspace: Options) -> AsyncIterator[Opener]:
    """Open the journal as one more node does."""
    async with AsyncExitStack() as stack:

        async def opened() -> Cassandra:
            journal = await Cassandra.open(keyspace)
            stack.push_async_callback(journal.close)
            return journal

        yield opened


async def history(journal: Journal, after: int = 0, limit: int = 10_000) -> list[int]:
    """Return the sequence numbers of a pipeline's history."""
    found = await journal.history(FLIGHTS, SequenceNumber(after), limit)
    return [record.sequence for record in found]


# --- starting ----------------------------------------------------------------------------------

START = """
import asyncio, sys
from dataflow.journal.cassandra import Cassandra, Options
from dataflow.journal.contract import Nonce
from dataflow.core.ids import ShardId

async def main():
    journal = await Cassandra.open(Options([sys.argv[1]], sys.argv[2]))
    claim = await journal.acquire(ShardId(1), Nonce(sys.argv[3]))
    await journal.close()
    print(claim.fence)

asyncio.run(main())
"""


async def test_nodes_that_start_at_once_make_the_same_tables(
    cassandra: str, cassandra_session: Session, keyspace_name: str
) -> None:
    """Whoever comes first: no table with two ids, and nobody works before all agree."""
    name = f"{keyspace_name}_race"
    try:
        processes = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", START, cassandra, name, f"n{number}"),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            for number in range(4)
        ]
        said = [await process.communicate() for process in processes]
        assert [process.returncode for process in processes] == [0] * 4, said
        assert sorted(int(out) for out, _ in said) == [1, 2, 3, 4]
        rows = cassandra_session.execute(
            "SELECT table_name, id FROM system_schema.tables WHERE keyspace_name = %s", [name]
        )
        assert dict(rows) == {table: schema.table_id(name, table) for table in schema.TABLES}
    finally:
        cassandra_session.execute(f"DROP KEYSPACE IF EXISTS {name}")


async def test_tables_of_a_newer_program_are_refused(
    node: Opener, cassandra_session: Session, keyspace: Options
) -> None:
    """It may have changed what a row means."""
    await node()
    update = f"UPDATE {keyspace.keyspace}.versions SET version = %s WHERE component = 'journal'"  # noqa: S608 - the test's own name
    cassandra_session.execute(update, [schema.VERSION + 1])
    try:
        with pytest.raises(Rejected, match="use the newer program"):
            await node()
    finally:
        cassandra_session.execute(update, [schema.VERSION])


async def test_a_server_that_is_not_there_is_told() -> None:
    """With its address, and at once."""
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1"):
        await Cassandra.open(Options(["127.0.0.1:1"], "nowhere"))


async def test_a_journal_says_where_it_is(node: Opener, cassandra: str, keyspace: Options) -> None:
    """For the reader of an error."""
    assert str(await node()) == f"keyspace {keyspace.keyspace} of Cassandra at {cassandra}"


# --- histories ---------------------------------------------------------------------------------


async def append(journal: Journal, claim: Held, records: list[Record]) -> Held:
    """Append with an id of its own."""
    return await journal.append(claim, records, AppendId(f"{claim.fence}-{claim.offset}"))


async def test_a_new_owner_has_the_histories_that_the_last_one_did_not_write(
    node: Opener, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It died before; every event is in the log, and found before the shard is served."""
    former = await node()

    async def dead(_: object) -> None:
        raise Unavailable("dead")

    monkeypatch.setattr(former._audit._rounds, "_write", dead)
    claim = await former.acquire(SHARD, Nonce("former"))
    for _ in range(5):
        claim = await append(former, claim, author(claim, 2))
    current = await node()
    assert await history(current) == []
    await current.acquire(SHARD, Nonce("current"))
    assert await history(current) == list(range(1, 11))
    await current.close()
    assert await history(await node()) == list(range(1, 11))


async def test_what_waits_to_be_written_is_in_the_history(node: Opener, author: Author) -> None:
    """In order and once, whatever of it has been written by now."""
    journal = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    for number in range(30):
        claim = await append(journal, claim, author(claim, 2))
        if number % 10 == 5:
            await journal._audit._rounds.settled()
        assert await history(journal) == list(range(1, 2 * number + 3))
    assert await history(journal, after=7, limit=50) == list(range(8, 58))
    assert await history(journal, after=58, limit=50) == [59, 60]


async def test_a_history_goes_through_many_partitions(
    node: Opener, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shard's events fill one after the other; a pipeline may have few in each or none."""
    monkeypatch.setattr(by_pipeline, "PART_OFFSETS", 5)
    monkeypatch.setattr(by_pipeline, "PAGE_PLACES", 2)
    journal = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    for number in range(24):
        pipeline = "flights" if number % 8 < 3 else "orders"
        claim = await append(journal, claim, author(claim, 3, pipeline=pipeline))
        if number % 5 == 0:
            await journal._audit._rounds.settled()
    await journal.close()
    other = await node()
    assert await history(other) == list(range(1, 28))
    for after in range(28):
        assert await history(other, after, 4) == list(range(after + 1, 28))[:4]


async def test_a_log_far_behind_its_histories_is_not_read_twice(
    node: Opener, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new owner begins where the table is complete for certain."""
    monkeypatch.setattr(audit, "UNMARKED_MAX", 10)
    former = await node()
    claim = await former.acquire(SHARD, Nonce("former"))
    for _ in range(4):
        claim = await append(former, claim, author(claim, 10))
        await former._audit._rounds.settled()
    current = await node()
    await current.acquire(SHARD, Nonce("current"))
    assert len(current._audit._rounds) <= 20
    assert await history(current) == list(range(1, 41))


async def test_appends_wait_while_too_much_waits_to_be_written(
    node: Opener, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory does not grow with the load."""
    monkeypatch.setattr(audit, "WAITING_MAX", 100)
    journal = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    for _ in range(10):
        claim = await append(journal, claim, author(claim, 60))
        assert len(journal._audit._rounds) <= 100
    assert await history(journal) == list(range(1, 601))


async def test_a_damaged_history_is_told(
    node: Opener, author: Author, cassandra_session: Session, keyspace: Options
) -> None:
    """By pipeline and event, and never as if there were nothing."""
    journal = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    for _ in range(3):
        claim = await append(journal, claim, author(claim, 2))
        await journal._audit._rounds.settled()
    table = f"{keyspace.keyspace}.audit"
    where = "WHERE shard = 3 AND part = 0 AND pipeline = 'flights' AND sequence = 4"
    cassandra_session.execute(f"UPDATE {table} SET records = 0x0102030405 {where}")  # noqa: S608 - as above
    with pytest.raises(Corrupted, match="pipeline flights up to event 4 is not what was written"):
        await history(await node())
    cassandra_session.execute(f"DELETE FROM {table} {where}")  # noqa: S608 - as above
    with pytest.raises(Corrupted, match="event 3 is missing"):
        await history(await node())


async def test_a_large_event_in_a_history_is_read_from_the_log(
    node: Opener, author: Author, cassandra_session: Session, keyspace: Options
) -> None:
    """It is not copied; should the log have lost it, its history says so."""
    journal = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    claim = await append(journal, claim, author(claim, 2))
    large = author(claim, 2, payload=bytes(100_000))
    claim = await append(journal, claim, large)
    await append(journal, claim, author(claim, 1))
    await journal.close()
    other = await node()
    assert await history(other) == [1, 2, 3, 4, 5]
    assert await other.history(FLIGHTS, SequenceNumber(2), 2) == large
    cassandra_session.execute(
        f"DELETE FROM {keyspace.keyspace}.journal WHERE shard = 3 AND bucket = 0 AND seq = 4"  # noqa: S608 - as above
    )
    with pytest.raises(Corrupted, match="record 3, event 3 of pipeline flights, is missing"):
        await history(other)


# --- snapshots and registers -------------------------------------------------------------------


async def test_a_damaged_snapshot_is_passed_over(
    node: Opener, author: Author, cassandra_session: Session, keyspace: Options
) -> None:
    """The one before is there until two newer ones are; without either the log has it all."""
    journal = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    kept = []
    for number in range(3):
        claim = await append(journal, claim, author(claim, 2))
        payload = bytes([number]) * 600_000
        kept.append(Snapshot(claim.offset, claim.head, payload))
        await journal.save_snapshot(claim, kept[-1])
    table = f"{keyspace.keyspace}.chunks"
    values = {row[0] for row in cassandra_session.execute(f"SELECT DISTINCT value FROM {table}")}  # noqa: S608 - as above
    assert len(values) == 2, "what two newer snapshots have replaced is gone"
    for expected in (kept[1], None):
        rows = await journal._snapshots.kept(SHARD)
        newest = next(row[1] for row in rows if row[1] in values)
        values.remove(newest)
        cassandra_session.execute(f"DELETE FROM {table} WHERE value = %s AND number = 1", [newest])  # noqa: S608 - as above
        assert await (await node()).load_snapshot(SHARD) == expected


async def test_large_decisions_leave_nothing_behind(
    node: Opener, cassandra_session: Session, keyspace: Options
) -> None:
    """A register is overwritten each second: what it held must not pile up."""
    journal = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    stamp = Stamp()
    for number in range(1, 6):
        following = Stamp(Run(1), number)
        payload = bytes([number]) * 300_000
        await journal.decide(claim, [Decision(FLIGHTS, stamp, following, payload)])
        stamp = following
    kept = await journal.decision(SHARD, FLIGHTS)
    assert kept is not None
    assert kept.payload == bytes([5]) * 300_000
    rows = cassandra_session.execute(f"SELECT DISTINCT value FROM {keyspace.keyspace}.chunks")  # noqa: S608 - as above
    assert len(list(rows)) == 1


async def test_many_decisions_are_written_in_small_statements(
    node: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All pipelines of a shard may decide in one tick, each with 10 KiB."""
    journal = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    sizes: list[int] = []
    run = journal._session.conditionally_all

    async def watched(given: list[tuple[str, tuple[object, ...]]]) -> object:
        values = [value for _, row in given for value in row]
        sizes.append(sum(len(v) if isinstance(v, str | bytes) else 8 for v in values))
        return await run(given)

    monkeypatch.setattr(journal._session, "conditionally_all", watched)
    names = [PipelineId(f"p{number}") for number in range(20)]
    given = [Decision(name, Stamp(), Stamp(Run(1), 1), bytes(10 << 10)) for name in names]
    outcomes = await journal.decide(claim, given)
    assert all(outcome.accepted for outcome in outcomes)
    assert len(outcomes) == 20
    assert max(sizes) <= 40 << 10
    assert all([await journal.decision(SHARD, name) for name in names])


async def test_registers_that_were_read_ahead_are_what_was_written_last(
    node: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new owner reads many at once; each may be written by it, or by the owner after it."""
    monkeypatch.setattr(registers, "AHEAD_MAX", 3)
    one, other = await node(), await node()
    names = [PipelineId(f"p{n}") for n in range(5)]
    stamps = [Stamp(), *(Stamp(Run(run), 1) for run in range(1, 5))]

    def decisions(number: int) -> list[Decision]:
        before, after = stamps[number - 1], stamps[number]
        return [Decision(name, before, after, f"{name} {number}".encode()) for name in names]

    async def held(journal: Cassandra) -> set[bytes]:
        found = [await journal.decision(SHARD, name) for name in names]
        return {decided.payload for decided in found if decided is not None}

    def payloads(number: int) -> set[bytes]:
        return {decision.payload for decision in decisions(number)}

    claim = await one.acquire(SHARD, Nonce("one"))
    await one.decide(claim, decisions(1))
    claim = await one.acquire(SHARD, Nonce("one again"))
    assert await one.decision(SHARD, names[0]) is not None
    await one.decide(claim, decisions(2))
    assert await held(one) == payloads(2)
    others = await other.acquire(SHARD, Nonce("other"))
    assert await held(other) == payloads(2)
    await other.decide(others, decisions(3))
    with pytest.raises(Fenced):
        await one.decide(claim, decisions(3))
    claim = await one.acquire(SHARD, Nonce("one, at last"))
    assert await held(one) == payloads(3)
    assert await held(one) == payloads(3)


async def test_a_damaged_register_is_told(
    node: Opener, cassandra_session: Session, keyspace: Options
) -> None:
    """A run that began from it would skip or repeat rows."""
    journal = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    await journal.decide(claim, [Decision(FLIGHTS, Stamp(), Stamp(Run(1), 1), b"good")])
    cassandra_session.execute(
        f"UPDATE {keyspace.keyspace}.decisions SET payload = 0x00"  # noqa: S608 - as above
        " WHERE shard = 3 AND pipeline = 'flights'"
    )
    with pytest.raises(Corrupted, match="register of pipeline flights is damaged"):
        await journal.decision(SHARD, FLIGHTS)


async def test_registers_that_were_never_fenced_are_told(
    node: Opener, cassandra_session: Session, keyspace: Options
) -> None:
    """They were lost, or are of an older copy: a decision in them would be a second first one."""
    journal = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    cassandra_session.execute(f"DELETE FROM {keyspace.keyspace}.decisions WHERE shard = 3")  # noqa: S608 - as above
    with pytest.raises(Corrupted, match="went back"):
        await journal.decide(claim, [Decision(FLIGHTS, Stamp(), Stamp(Run(1), 1), b"")])


async def test_a_closed_journal_says_so(node: Opener, author: Author) -> None:
    """A write that would wait for ever is refused at once."""
    journal = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    await journal.close()
    with pytest.raises(Unavailable, match="is closed") as told:
        await append(journal, claim, author(claim))
    assert told.value.code is not Code.OUTCOME_UNKNOWN


async def test_a_read_of_a_shard_that_nobody_has_acquired_is_empty(node: Opener) -> None:
    """From the beginning or from further on."""
    journal = await node()
    for after in (0, 5):
        assert [page async for page in journal.read(SHARD, Offset(after))] == []
