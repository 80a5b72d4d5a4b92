"""What a sender and a source can rely on, wherever an ingest log is kept."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from dataflow.core.errors import Code, Corrupted, Rejected, Unavailable
from dataflow.core.ids import PipelineId
from dataflow.engine.ingest import Ingested
from tests.unit.engine.ingest.pushing import AnyPushing, numbers_of


async def test_records_come_back_in_the_order_in_which_they_were_pushed(
    pushing: AnyPushing,
) -> None:
    """Offsets count records, whatever batches they came in."""
    first = await pushing.push("a", 1, 2, 3)
    second = await pushing.push("b", 4)
    assert (first, second) == (Ingested(3, 0, duplicate=False), Ingested(1, 3, duplicate=False))
    assert await pushing.numbers() == [1, 2, 3, 4]


async def test_reading_resumes_in_the_middle_of_a_batch(pushing: AnyPushing) -> None:
    """A position is the offset of a record, not of a batch."""
    await pushing.push("a", 1, 2, 3)
    await pushing.push("b", 4, 5)
    assert [await pushing.numbers(start) for start in range(6)] == [
        [1, 2, 3, 4, 5],
        [2, 3, 4, 5],
        [3, 4, 5],
        [4, 5],
        [5],
        [],
    ]


async def test_a_batch_pushed_again_is_answered_and_not_taken_again(pushing: AnyPushing) -> None:
    """The sender of a batch whose answer was lost asks again."""
    await pushing.push("a", 1, 2)
    again = await pushing.push("a", 1, 2)
    assert again == Ingested(2, 0, duplicate=True)
    assert await pushing.numbers() == [1, 2]


async def test_an_id_with_other_content_is_refused(pushing: AnyPushing) -> None:
    """To take it would be a batch lost, to answer it a batch never taken."""
    await pushing.push("a", 1)
    await pushing.reopen()
    with pytest.raises(Rejected, match="batchId: 'a' was used for a batch with other") as refused:
        await pushing.push("a", 2)
    assert refused.value.code is Code.COMMAND_ID_REUSED


async def test_the_same_batch_at_the_same_time_is_taken_once(pushing: AnyPushing) -> None:
    """A sender's two connections may race."""
    await pushing.push("first", 0)
    both = await asyncio.gather(pushing.push("a", 1), pushing.push("a", 1))
    assert sorted(answer.duplicate for answer in both) == [False, True]
    assert await pushing.numbers() == [0, 1]


async def test_a_caller_that_goes_while_it_is_parsed_holds_nobody_up(pushing: AnyPushing) -> None:
    """Its place in the order is given up, and whoever waits for the same batch hears so."""
    await pushing.push("first", 0)
    going = asyncio.ensure_future(pushing.push("a", *range(5000)))
    twin = asyncio.ensure_future(pushing.push("a", *range(5000)))
    await asyncio.sleep(0)
    going.cancel()
    await pushing.push("b", 2)
    with pytest.raises(Unavailable, match="whoever pushed the batch first has gone"):
        await twin
    assert await pushing.numbers() == [0, 2]


async def test_too_much_undecided_asks_the_sender_to_wait(pushing: AnyPushing) -> None:
    """Room comes when the pipeline has decided; a batch alone always passes."""
    await pushing.push("a", *range(200), buffer_bytes=1000)
    with pytest.raises(Unavailable, match="wait to be processed") as busy:
        await pushing.push("b", 5, buffer_bytes=1000)
    assert busy.value.code is Code.BUSY
    assert busy.value.retry_after is not None
    assert len(await pushing.numbers()) == 200
    await pushing.log.cut(200)
    await pushing.push("b", 5, buffer_bytes=1000)
    assert await pushing.numbers(200) == [5]


async def test_a_position_beyond_the_end_is_damage(pushing: AnyPushing) -> None:
    """Records that were read and are no longer there were lost; nobody may go on silently."""
    await pushing.push("a", 1)
    with pytest.raises(Corrupted, match="ends before record 1, and the pipeline has read to"):
        await anext(pushing.log.read(2))


async def test_an_empty_log_has_no_schema_and_waits(pushing: AnyPushing) -> None:
    """Before the first batch there is nothing, which is no error."""
    assert await pushing.log.schema() is None
    assert (await pushing.log.begin(), await pushing.log.end()) == (0, 0)
    waiting = asyncio.ensure_future(anext(pushing.log.read(0)))
    await asyncio.sleep(0.05)
    await pushing.push("a", 7)
    assert (await waiting).batch.column("n").to_pylist() == [7]


async def test_the_first_batch_fixes_the_schema_though_others_come_with_it(
    pushing: AnyPushing,
) -> None:
    """Which batch is first is decided by order, not by which parses faster."""
    results = await asyncio.gather(
        pushing.send("bad", b"nonsense"),
        pushing.send("a", b'{"n": 1}'),
        pushing.send("b", b'{"n": "text"}'),
        pushing.send("c", b'{"n": 2}'),
        return_exceptions=True,
    )
    assert isinstance(results[0], Rejected)
    assert isinstance(results[2], Rejected)
    assert await pushing.numbers() == [1, 2]


async def test_a_tail_waits_for_what_is_pushed_next(pushing: AnyPushing) -> None:
    """A source reads for ever."""
    found: list[int] = []
    async with aclosing(pushing.log.read(0)) as batches:
        for n in range(5):
            waiting = asyncio.ensure_future(anext(batches))
            await asyncio.sleep(0)
            await pushing.push(f"b{n}", n)
            found += numbers_of((await waiting).batch)
    assert found == list(range(5))


async def test_what_was_acknowledged_is_there_after_a_restart(pushing: AnyPushing) -> None:
    """Records, batch ids, the schema and the end."""
    await pushing.push("a", 1, 2)
    await pushing.reopen()
    assert await pushing.push("a", 1, 2) == Ingested(2, 0, duplicate=True)
    assert await pushing.push("b", 3) == Ingested(1, 2, duplicate=False)
    with pytest.raises(Rejected, match="text"):
        await pushing.send("c", b'{"n": 1, "text": 7}')
    assert await pushing.numbers() == [1, 2, 3]


async def test_batch_ids_and_the_end_are_remembered_when_all_is_cut(pushing: AnyPushing) -> None:
    """A sender may come again after its batch was decided, and the numbers go on."""
    for n in range(5):
        await pushing.push(f"b{n}", n)
    assert await pushing.numbers() == list(range(5))
    await pushing.log.cut(5)
    await pushing.reopen()
    assert (await pushing.push("b0", 0)).duplicate
    assert await pushing.push("b5", 5) == Ingested(1, 5, duplicate=False)
    assert await pushing.log.end() == 6
    assert await pushing.numbers(5) == [5]


async def test_only_what_is_below_the_decision_is_cut(pushing: AnyPushing) -> None:
    """In the middle of a batch, its records from there on stay."""
    await pushing.push("a", *range(10))
    await pushing.push("b", *range(10, 20))
    assert len(await pushing.numbers()) == 20
    await pushing.log.cut(15)
    async with asyncio.timeout(10):
        assert await pushing.numbers(15) == [15, 16, 17, 18, 19]
    assert await pushing.log.begin() <= 10
    async with asyncio.timeout(10):
        assert await pushing.numbers(10) == list(range(10, 20))


async def test_what_waits_is_counted(pushing: AnyPushing) -> None:
    """The lag of a push source, in records and bytes."""
    assert await pushing.log.behind(0) == (0, 0)
    await pushing.push("a", *range(3_000))
    await pushing.push("b", *range(3_000))
    assert await pushing.log.end() == 6_000
    records, size = await pushing.log.behind(0)
    fewer, smaller = await pushing.log.behind(3_000)
    assert (records, fewer) == (6_000, 3_000)
    assert 0 < smaller < size
    assert await pushing.log.behind(6_000) == (0, 0)


async def test_a_removed_log_is_gone(pushing: AnyPushing) -> None:
    """A deleted pipeline leaves no records behind; removing nothing is fine."""
    await pushing.push("a", 1)
    await pushing.logs.remove(PipelineId("p"))
    await pushing.logs.remove(PipelineId("p"))
    assert await pushing.log.end() == 0


async def test_a_large_batch_comes_back_whole(pushing: AnyPushing) -> None:
    """Larger than a message of Kafka, and than what is read at a time."""
    numbers = list(range(150_000))
    await pushing.push("a", *numbers)
    assert await pushing.numbers() == numbers
    assert (await pushing.numbers(149_999)) == [149_999]
