"""Logs in Cassandra: buckets, seals, fences across them, and what does not fit a statement."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
from cassandra.cluster import Session

from dataflow.core.errors import Corrupted, Fenced
from dataflow.core.ids import Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.cassandra import Cassandra, Options, log
from dataflow.journal.contract import AppendId, Held, Journal, Nonce, Record, Snapshot

Author = Callable[..., list[Record]]
Opener = Callable[[], Awaitable[Cassandra]]

SHARD = ShardId(3)
SMALL = 5
"""Events in a bucket."""


@pytest.fixture
async def node(keyspace: Options) -> AsyncIterator[Opener]:
    """Open the journal with small buckets, as one more node does."""
    async with AsyncExitStack() as stack:

        async def opened() -> Cassandra:
            journal = await Cassandra.open(keyspace, SMALL)
            stack.push_async_callback(journal.close)
            return journal

        yield opened


async def read_all(journal: Journal, after: int = 0) -> list[Record]:
    """Return a log from an offset on."""
    return [record async for page in journal.read(SHARD, Offset(after)) for record in page]


async def append(journal: Journal, claim: Held, records: list[Record]) -> Held:
    """Append with an id of its own."""
    return await journal.append(claim, records, AppendId(f"{claim.fence}-{claim.offset}"))


async def fill(journal: Journal, author: Author, sizes: tuple[int, ...]) -> list[Record]:
    """Acquire the shard, make appends of some sizes, and return all records."""
    claim = await journal.acquire(SHARD, Nonce("filler"))
    written: list[Record] = []
    for size in sizes:
        records = author(claim, size)
        claim = await append(journal, claim, records)
        written += records
    return written


def buckets(session: Session, options: Options) -> dict[int, tuple[int, bool]]:
    """Return where each bucket ends and whether it is sealed."""
    rows = session.execute(
        f"SELECT DISTINCT shard, bucket, last_seq, sealed FROM {options.keyspace}.journal"  # noqa: S608 - the test's own name
    )
    return {bucket: (last_seq, sealed) for _, bucket, last_seq, sealed in sorted(rows)}


async def test_a_bucket_is_sealed_before_the_next_is_begun(
    node: Opener, author: Author, cassandra_session: Session, keyspace: Options
) -> None:
    """A partition that grew for ever would break the server; an append is never cut in two."""
    journal = await node()
    written = await fill(journal, author, (3, 2, 1, 3, 2, 12, 1))
    assert buckets(cassandra_session, keyspace) == {
        0: (5, True),
        5: (9, True),
        9: (11, True),
        11: (23, True),
        23: (24, False),
    }
    assert await read_all(journal) == written


@pytest.mark.parametrize("after", range(13))
async def test_reading_begins_in_any_bucket(node: Opener, author: Author, after: int) -> None:
    """At its edges, too, where the record before lies in the bucket before."""
    written = await fill(await node(), author, (3, 2, 1, 3, 2, 1))
    assert await read_all(await node(), after) == written[after:]


async def test_a_new_owner_goes_on_in_the_last_bucket(node: Opener, author: Author) -> None:
    """It knows of no bucket and of no header but what the store tells."""
    written = await fill(await node(), author, (5, 5, 3))
    journal = await node()
    claim = await journal.acquire(SHARD, Nonce("next"))
    assert (claim.offset, claim.head, claim.fence) == (13, written[-1].hash, 2)
    more = author(claim, 4)
    await append(journal, claim, more)
    assert await read_all(journal) == [*written, *more]


@pytest.mark.parametrize("size", [1, 5])
async def test_a_former_owner_is_refused_in_every_bucket(
    node: Opener, author: Author, size: int
) -> None:
    """Also where it would have to seal a bucket first, or takes a sealed one for the last."""
    former, current = await node(), await node()
    claim = await former.acquire(SHARD, Nonce("former"))
    claim = await append(former, claim, author(claim, 3))
    newer = await current.acquire(SHARD, Nonce("current"))
    for _ in range(3):
        newer = await append(current, newer, author(newer, 3))
    with pytest.raises(Fenced, match="shard 3 has fence 2"):
        await append(former, claim, author(claim, size))
    assert len(await read_all(current)) == 12


async def half_sealed(journal: Cassandra, author: Author) -> tuple[Held, list[Record]]:
    """Leave a bucket sealed and the next one not begun, as a node does that dies in between."""
    claim = await journal.acquire(SHARD, Nonce("dead"))
    written = author(claim, 4)
    claim = await append(journal, claim, written)
    row = await journal._session.conditionally(
        "seal", SHARD, 0, claim.fence, claim.offset, claim.head
    )
    assert row["[applied]"]
    return claim, written


async def test_a_seal_without_a_next_bucket_is_gone_on_from(node: Opener, author: Author) -> None:
    """The owner itself, whose answer was lost: whatever it appends next, it begins the bucket."""
    journal = await node()
    claim, written = await half_sealed(journal, author)
    more = author(claim, 1)
    await append(journal, claim, more)
    assert await read_all(journal) == [*written, *more]


async def test_a_new_owner_begins_the_bucket_that_the_last_one_did_not(
    node: Opener, author: Author
) -> None:
    """And the last one, should it live, is refused there as anywhere."""
    former, current = await node(), await node()
    claim, written = await half_sealed(former, author)
    newer = await current.acquire(SHARD, Nonce("current"))
    assert newer == replace(claim, fence=newer.fence)
    assert newer.fence == 2
    with pytest.raises(Fenced):
        await append(former, claim, author(claim, 1))
    more = author(newer, 1)
    await append(current, newer, more)
    assert await read_all(current) == [*written, *more]


async def test_a_fence_cannot_be_raised_behind_a_seal(node: Opener, author: Author) -> None:
    """It was read as the last bucket and sealed since: the owner writes on in the next one."""
    journal = await node()
    claim, _ = await half_sealed(journal, author)
    late = (claim.fence + 1, "late", SHARD, 0, claim.fence)
    assert not (await journal._session.conditionally("fence", *late))["[applied]"]


async def test_an_acquisition_repeated_behind_a_seal_is_one(node: Opener, author: Author) -> None:
    """The nonce is found in the bucket that was sealed under it."""
    journal = await node()
    claim, _ = await half_sealed(journal, author)
    assert await journal.acquire(SHARD, Nonce("dead")) == claim


async def test_an_append_repeated_behind_a_seal_is_found(node: Opener, author: Author) -> None:
    """A new process that was told to repeat it looks in the bucket behind."""
    journal = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    records = author(claim, 5)
    after = await append(journal, claim, records)
    next_claim = await append(journal, after, author(after, 5))
    again = await append(await node(), after, author(after, 0) + (await read_all(journal, 5)))
    assert again == next_claim


async def test_a_snapshot_says_where_to_begin(
    node: Opener, author: Author, cassandra_session: Session, keyspace: Options
) -> None:
    """Walking from the first of a thousand buckets would take a new owner seconds."""
    journal = await node()
    written = await fill(journal, author, (5, 5, 5, 2))
    claim = await journal.acquire(SHARD, Nonce("filler"))
    await journal.save_snapshot(claim, Snapshot(claim.offset, claim.head, b"state"))
    for bucket in (0, 5):
        cassandra_session.execute(
            f"DELETE FROM {keyspace.keyspace}.journal WHERE shard = 3 AND bucket = {bucket}"  # noqa: S608 - as above
        )
    cassandra_session.execute(
        f"INSERT INTO {keyspace.keyspace}.audited (shard, bucket, seq) VALUES (3, 10, 15)"  # noqa: S608 - as above
    )
    other = await node()
    assert (await other.acquire(SHARD, Nonce("next"))).offset == 17
    assert await other.load_snapshot(SHARD) == Snapshot(Offset(17), written[-1].hash, b"state")


async def test_a_bucket_that_is_gone_is_told(
    node: Opener, author: Author, cassandra_session: Session, keyspace: Options
) -> None:
    """Beginning anew in its place would deny everything before it."""
    journal = await node()
    await fill(journal, author, (5, 5, 2))
    cassandra_session.execute(
        f"DELETE FROM {keyspace.keyspace}.journal WHERE shard = 3 AND bucket = 10"  # noqa: S608 - as above
    )
    with pytest.raises(Corrupted, match="shard 3: bucket 10 of its log is missing"):
        await journal.acquire(SHARD, Nonce("next"))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        ("DELETE FROM {}.journal WHERE shard = 3 AND bucket = 0 AND seq = 4", "record 3 is missi"),
        (
            "UPDATE {}.journal SET records = 0x0100 WHERE shard = 3 AND bucket = 0 AND seq = 4",
            "the append that ends with record 4 is not what was written",
        ),
        (
            "UPDATE {}.journal SET records = 0x0100000000ff WHERE shard=3 AND bucket=0 AND seq=4",
            "the append that ends with record 4 is not what was written",
        ),
        ("DELETE FROM {}.journal WHERE shard = 3 AND bucket = 0 AND seq = 5", "record 5 is missi"),
    ],
)
async def test_a_damaged_log_is_told(
    node: Opener,
    author: Author,
    cassandra_session: Session,
    keyspace: Options,
    *,
    damage: str,
    told: str,
) -> None:
    """By shard and record, for the one who must restore it."""
    journal = await node()
    await fill(journal, author, (2, 2, 1))
    cassandra_session.execute(damage.format(keyspace.keyspace))
    with pytest.raises(Corrupted, match=f"shard 3: {told}"):
        await read_all(journal)


def largest(session: Session, options: Options) -> tuple[int, int]:
    """Return the most bytes of records in a row, and how many rows name a value instead."""
    rows = list(session.execute(f"SELECT records, value FROM {options.keyspace}.journal"))  # noqa: S608 - as above
    inline = [len(records) for records, _ in rows if records is not None]
    return max(inline, default=0), sum(value is not None for _, value in rows)


@pytest.mark.parametrize(
    ("count", "size", "large"),
    [(1, 39 << 10, 0), (1, 40 << 10, 1), (1, 3 << 20, 1), (700, 10, 1), (64, 256 << 10, 1)],
)
async def test_an_append_of_any_size_is_one_small_statement(
    node: Opener,
    author: Author,
    cassandra_session: Session,
    keyspace: Options,
    *,
    count: int,
    size: int,
    large: int,
) -> None:
    """A statement goes through Paxos: past 40 KiB what it writes is laid down before it."""
    journal = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    records = author(claim, count, payload=bytes(n % 251 for n in range(size)))
    await append(journal, claim, records)
    most, named = largest(cassandra_session, keyspace)
    assert most <= 40 << 10
    assert named == large
    assert await read_all(await node()) == records
    found = await journal.history(PipelineId("flights"), SequenceNumber(0), count)
    assert found == records


async def test_what_is_sent_at_once_is_limited(
    node: Opener, author: Author, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By us: the server takes megabytes, and everybody then waits for them."""
    journal = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    sent: list[int] = []
    run = journal._session.conditionally

    async def watched(name: str, *values: object) -> object:
        sent.append(sum(len(v) if isinstance(v, str | bytes) else 8 for v in values))
        return await run(name, *values)

    monkeypatch.setattr(journal._session, "conditionally", watched)
    for size in (100, log.BATCH_BYTES_MAX - 700, log.BATCH_BYTES_MAX, 1 << 20):
        claim = await append(journal, claim, author(claim, 1, payload=bytes(size)))
    assert max(sent) <= 40 << 10


async def test_a_value_that_is_damaged_is_told(
    node: Opener, author: Author, cassandra_session: Session, keyspace: Options
) -> None:
    """Its name is the hash of what it is."""
    journal = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    await append(journal, claim, author(claim, 1, payload=bytes(1 << 20)))
    (value,) = cassandra_session.execute(
        f"SELECT DISTINCT value FROM {keyspace.keyspace}.chunks"  # noqa: S608 - as above
    ).one()
    cassandra_session.execute(
        f"DELETE FROM {keyspace.keyspace}.chunks WHERE value = %s AND number = 1",  # noqa: S608 - as above
        [value],
    )
    with pytest.raises(Corrupted, match="is not what was written"):
        await read_all(journal)
