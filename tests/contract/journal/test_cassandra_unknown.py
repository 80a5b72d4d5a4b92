"""Conditional writes in Cassandra whose outcome is unknown: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from dataflow.core.checkpoint import Stamp
from dataflow.core.errors import Code, Fenced, Unavailable
from dataflow.core.ids import Offset, PipelineId, Run, ShardId
from dataflow.journal.cassandra import Cassandra, Options, registers
from dataflow.journal.contract import AppendId, Decided, Decision, Held, Journal, Nonce, Record
from tests.contract.journal.adversary import Adversary, Hasty, opened, sometimes

Author = Callable[..., list[Record]]
Opener = Callable[[], Awaitable[tuple[Cassandra, Adversary]]]

SHARD = ShardId(3)
FLIGHTS = PipelineId("flights")
BAD = ("lost", "unheard", "late")


@pytest.fixture
async def node(keyspace: Options) -> AsyncIterator[Opener]:
    """Open the journal over an adversary, with buckets of twenty events."""
    async with AsyncExitStack() as stack:

        async def open_node() -> tuple[Cassandra, Adversary]:
            journal, adversary = await opened(Adversary, keyspace, 20)
            stack.push_async_callback(journal.close)
            return journal, adversary

        yield open_node


async def read_all(journal: Journal, shard: ShardId = SHARD) -> list[Record]:
    """Return a log."""
    return [record async for page in journal.read(shard, Offset(0)) for record in page]


async def settled(journal: Journal, claim: Held, records: list[Record]) -> Held:
    """Append as an owner does: the identical one until its outcome is known."""
    while True:
        try:
            return await journal.append(claim, records, AppendId(f"{claim.fence}-{claim.offset}"))
        except Unavailable as error:
            if error.code is not Code.OUTCOME_UNKNOWN:
                raise


@pytest.mark.parametrize("seed", range(4))
async def test_an_append_of_unknown_outcome_is_repeated_to_exactly_one(
    node: Opener, author: Author, seed: int
) -> None:
    """Lost, unheard or late, with seals among them: what was acknowledged is there once."""
    journal, adversary = await node()
    adversary.fate = sometimes(seed, 0.3, *BAD)
    claim = await journal.acquire(SHARD, Nonce("a"))
    written: list[Record] = []
    for number in range(60):
        records = author(claim, number % 3 + 1)
        claim = await settled(journal, claim, records)
        written += records
    assert adversary.unknown > 10
    assert await read_all(journal) == written


@pytest.mark.parametrize("fate", BAD)
async def test_an_unknown_outcome_is_told(node: Opener, author: Author, fate: str) -> None:
    """Not success, and never failure: only the owner knows what to do next."""
    journal, adversary = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    adversary.fate = lambda: fate
    with pytest.raises(Unavailable) as told:
        await journal.append(claim, author(claim), AppendId("1"))
    assert told.value.code is Code.OUTCOME_UNKNOWN


async def test_a_late_append_of_a_former_owner_is_refused(node: Opener, author: Author) -> None:
    """A read that does not show it proves nothing; the fence that was raised since keeps it out."""
    former, held_up = await node()
    claim = await former.acquire(SHARD, Nonce("former"))
    held_up.fate = lambda: "held"
    with pytest.raises(Unavailable):
        await former.append(claim, author(claim), AppendId("late"))
    current, _ = await node()
    newer = await current.acquire(SHARD, Nonce("current"))
    assert [row["[applied]"] for row in await held_up.release()] == [False]
    records = author(newer, 2)
    await current.append(newer, records, AppendId("1"))
    assert await read_all(current) == records


async def test_a_late_append_that_lands_first_is_found(node: Opener, author: Author) -> None:
    """Between the error and the repetition the old coordinator carried it out."""
    journal, held_up = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    records = author(claim, 2)
    held_up.fate = lambda: "held"
    with pytest.raises(Unavailable):
        await journal.append(claim, records, AppendId("1"))
    assert await read_all(journal) == []
    assert [row["[applied]"] for row in await held_up.release()] == [True]
    held_up.fate = lambda: "fine"
    assert (await journal.append(claim, records, AppendId("1"))).offset == 2
    assert await read_all(journal) == records


@pytest.mark.parametrize("size", [10, 100_000])
async def test_an_append_stays_unknown_until_it_is_found(
    node: Opener, author: Author, size: int
) -> None:
    """An error of finding out is no answer: told that nothing was written, callers would repeat."""
    journal, adversary = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    records = author(claim, 2, payload=bytes(size))
    adversary.fate = lambda: "unheard"
    for is_readable in (True, False):
        with pytest.raises(Unavailable) as told:
            await journal.append(claim, records, AppendId("1"))
        assert told.value.code is Code.OUTCOME_UNKNOWN
        adversary.is_readable = not is_readable
        adversary.fate = lambda: "fine"
    adversary.is_readable = True
    assert (await journal.append(claim, records, AppendId("1"))).offset == 2
    assert await read_all(journal) == records


async def test_an_append_that_was_never_sent_is_not_unknown(node: Opener, author: Author) -> None:
    """Its callers need not wait for an outcome: there is none."""
    journal, adversary = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    adversary.is_readable = False
    with pytest.raises(Unavailable) as told:
        await journal.append(claim, author(claim, payload=bytes(100_000)), AppendId("1"))
    assert told.value.code is Code.STORAGE


@pytest.mark.parametrize("seed", range(3))
async def test_an_acquisition_of_unknown_outcome_is_known_by_its_nonce(
    node: Opener, author: Author, seed: int
) -> None:
    """Every step of it may be unknown; in the end its holder writes and nobody else does."""
    journal, adversary = await node()
    former: tuple[Journal, Held] | None = None
    for number in range(6):
        adversary.fate = sometimes(seed * 10 + number, 0.4, *BAD)
        claim = await journal.acquire(SHARD, Nonce(f"n{number}"))
        adversary.fate = lambda: "fine"
        claim = await journal.append(claim, author(claim), AppendId(f"a{number}"))
        if former:
            with pytest.raises(Fenced):
                await former[0].append(former[1], author(former[1]), AppendId("late"))
        former = (journal, claim)
        journal, adversary = await node()
    assert len(await read_all(journal)) == 6


def decision(number: int, pipeline: str = "flights", size: int = 0) -> Decision:
    """Return the how-manieth decision of run 5."""
    expected = Stamp(Run(5), number - 1) if number > 1 else Stamp()
    payload = f"{pipeline} {number}".encode() + bytes(size)
    return Decision(PipelineId(pipeline), expected, Stamp(Run(5), number), payload)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [0, 50_000])
async def test_decisions_of_unknown_outcome_are_found_by_reading(
    node: Opener, seed: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a run does it: what the register says after an unknown outcome stays so."""
    monkeypatch.setattr(registers, "DECIDE_ATTEMPTS", 1)
    journal, adversary = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    adversary.fate = sometimes(seed, 0.4, *BAD)
    number, unknown = 1, 0
    while number <= 40:
        given = decision(number, size=size)
        try:
            (outcome,) = await journal.decide(claim, [given])
            accepted = outcome.accepted
        except Unavailable:
            unknown += 1
            stored = None
            while stored is None:
                try:
                    stored = await journal.decision(SHARD, FLIGHTS) or Decided(Stamp(), b"")
                except Unavailable:
                    continue
            accepted = stored.stamp == given.stamp
            assert accepted or stored.stamp == given.expected
        if accepted:
            number += 1
    assert unknown > 5
    adversary.fate = lambda: "fine"
    assert await journal.decision(SHARD, FLIGHTS) == Decided(
        Stamp(Run(5), 40), decision(40, size=size).payload
    )


async def test_a_decision_that_was_read_as_missing_can_never_land(
    node: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was told so starts again from before: the late decision would be a second one."""
    monkeypatch.setattr(registers, "DECIDE_ATTEMPTS", 1)
    journal, adversary = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    await journal.decide(claim, [decision(1)])
    adversary.fate = lambda: "held"
    with pytest.raises(Unavailable):
        await journal.decide(claim, [decision(2)])
    adversary.fate = lambda: "fine"
    kept = await journal.decision(SHARD, FLIGHTS)
    assert kept is not None
    assert kept.stamp == Stamp(Run(5), 1)
    assert [row["[applied]"] for row in await adversary.release()] == [False]
    assert await journal.decision(SHARD, FLIGHTS) == kept
    (outcome,) = await journal.decide(claim, [decision(2)])
    assert outcome.accepted


async def test_a_decision_is_repeated_until_it_is_known(node: Opener) -> None:
    """A hiccup of the store must not cost every run its start."""
    journal, adversary = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    fates = iter(["lost", "unheard", "fine", "unheard", "fine"])
    adversary.fate = lambda: next(fates)
    for number in (1, 2):
        (outcome,) = await journal.decide(claim, [decision(number)])
        assert (outcome.accepted, outcome.stored) == (True, Stamp(Run(5), number))


async def test_a_decision_stays_unknown_until_it_is_read(node: Opener) -> None:
    """Its first attempt was written, the second refused by it, and what would tell out of reach."""
    journal, adversary = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    await journal.decide(claim, [decision(1)])

    def unheard_then_blind() -> str:
        adversary.fate = lambda: "fine"
        adversary.is_readable = False
        return "unheard"

    adversary.fate = unheard_then_blind
    with pytest.raises(Unavailable) as told:
        await journal.decide(claim, [decision(2)])
    assert told.value.code is Code.OUTCOME_UNKNOWN
    with pytest.raises(Unavailable):
        await journal.decision(SHARD, FLIGHTS)
    adversary.is_readable = True
    assert await journal.decision(SHARD, FLIGHTS) == Decided(Stamp(Run(5), 2), decision(2).payload)


async def test_decisions_of_which_some_are_written_are_unknown(
    node: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They did not fit one batch, and the store went away between the first and the second."""
    monkeypatch.setattr(registers, "DECIDE_ATTEMPTS", 1)
    journal, adversary = await node()
    claim = await journal.acquire(SHARD, Nonce("a"))
    fates = iter(["fine", "lost"])
    adversary.fate = lambda: next(fates)
    given = [decision(1, f"p{number}", 15_000) for number in range(4)]
    with pytest.raises(Unavailable) as told:
        await journal.decide(claim, given)
    assert told.value.code is Code.OUTCOME_UNKNOWN
    adversary.fate = lambda: "fine"
    kept = [await journal.decision(SHARD, one.pipeline) for one in given]
    assert [one is not None for one in kept] == [True, True, False, False]


async def test_a_late_decision_of_a_former_owner_is_refused(
    node: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The registers' fence is raised before the next owner reads them."""
    monkeypatch.setattr(registers, "DECIDE_ATTEMPTS", 1)
    former, held_up = await node()
    claim = await former.acquire(SHARD, Nonce("former"))
    held_up.fate = lambda: "held"
    with pytest.raises(Unavailable):
        await former.decide(claim, [decision(1)])
    current, _ = await node()
    await current.acquire(SHARD, Nonce("current"))
    assert await current.decision(SHARD, FLIGHTS) is None
    assert [row["[applied]"] for row in await held_up.release()] == [False]
    assert await current.decision(SHARD, FLIGHTS) is None


async def test_two_processes_with_one_claim_do_not_overwrite_each_other(node: Opener) -> None:
    """Each judges by what it has read; the tick tells the second that it has read too early."""
    (first, _), (second, _) = await node(), await node()
    claim = await first.acquire(SHARD, Nonce("a"))
    assert (await first.decide(claim, [decision(1)]))[0].accepted
    assert (await second.decide(claim, [decision(2)]))[0].accepted
    assert not (await first.decide(claim, [decision(2, size=1)]))[0].accepted
    assert (await first.decide(claim, [decision(3)]))[0].accepted


async def test_time_outs_of_the_driver_lose_and_repeat_nothing(
    keyspace: Options, author: Author
) -> None:
    """4 ms for one append in ten, on eight shards: the driver gives up, the server does not."""
    shards = [ShardId(number) for number in range(8)]
    journal, _ = await opened(Hasty, keyspace, 50)
    claims = [await journal.acquire(shard, Nonce("a")) for shard in shards]
    written: dict[ShardId, list[Record]] = {shard: [] for shard in shards}

    async def write(claim: Held) -> None:
        for _ in range(40):
            records = author(claim, 2, pipeline=f"p{claim.shard}")
            claim = await settled(journal, claim, records)
            written[claim.shard] += records

    async with asyncio.TaskGroup() as group:
        for claim in claims:
            group.create_task(write(claim))
    assert {shard: await read_all(journal, shard) for shard in shards} == written
    await journal.close()
