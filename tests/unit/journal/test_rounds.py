"""Writing behind: rounds, failures, and what those who wait are told."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from dataflow.core.errors import Unavailable
from dataflow.journal.cassandra import rounds
from dataflow.journal.cassandra.rounds import Rounds, write_all


class Store:
    """Takes rounds, or refuses so many of them."""

    def __init__(self) -> None:
        self.taken: list[Sequence[int]] = []
        self.refusals = 0
        self.error: Exception = Unavailable("the store is down")

    async def write(self, items: Sequence[int]) -> None:
        await asyncio.sleep(0)
        if self.refusals:
            self.refusals -= 1
            raise self.error
        self.taken.append(list(items))


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return a store; rounds that fail are tried again at once."""
    monkeypatch.setattr(rounds, "RETRY_S", 0.001)
    return Store()


def begin(store: Store, waiting_max: int | None = None) -> Rounds[int]:
    """Return rounds that gather until somebody asks."""
    return Rounds("numbers", store.write, gather_s=3600, waiting_max=waiting_max)


async def test_what_waits_is_written_together(store: Store) -> None:
    """A round costs the same for one item and for many."""
    written = begin(store)
    written.add([1])
    written.add([2, 3])
    await written.settled()
    written.add([4])
    await written.close()
    assert store.taken == [[1, 2, 3], [4]]


async def test_a_round_begins_when_it_is_hurried(store: Store) -> None:
    """Enough waits for a full one: waiting longer would only make it larger."""
    written = begin(store)
    written.add([1])
    written.hurry()
    async with asyncio.timeout(10):
        while not store.taken:  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0.001)
    await written.close()
    assert store.taken == [[1]]


async def test_what_cannot_be_written_waits_on(store: Store) -> None:
    """Whoever asks hears of the failure; the items come with the next round, in order."""
    store.refusals = 1
    written = begin(store)
    written.add([1])
    with pytest.raises(Unavailable, match="the store is down"):
        await written.settled()
    written.add([2])
    await written.settled()
    await written.close()
    assert [item for taken in store.taken for item in taken] == [1, 2]


async def test_an_unexpected_error_ends_nothing(store: Store) -> None:
    """A task that died would leave everybody waiting for ever."""
    store.refusals, store.error = 1, ValueError("no such column")
    written = begin(store)
    written.add([1])
    with pytest.raises(Unavailable, match="no such column"):
        await written.settled()
    await written.settled()
    await written.close()
    assert store.taken == [[1]]


async def test_too_much_that_waits_in_vain_is_given_up(store: Store) -> None:
    """Memory has an end; who asks is told from then on, for a later round would leave a gap."""
    store.refusals = 1
    written = begin(store, waiting_max=2)
    written.add([1, 2, 3])
    for _ in range(2):
        with pytest.raises(Unavailable, match="the store is down"):
            await written.settled()
        written.add([4])
    await written.close()
    assert store.taken == []


async def test_closing_writes_what_waits_once(store: Store) -> None:
    """A store that is down must not keep a process from ending."""
    written = begin(store)
    written.add([1])
    store.refusals = 100
    await written.close()
    assert store.refusals == 99


async def test_the_first_failure_of_many_requests_is_raised() -> None:
    """And what is not begun by then is not begun at all."""
    begun = []

    async def write(number: int) -> None:
        begun.append(number)
        await asyncio.sleep(0)
        if number == 2:
            raise Unavailable("two")

    with pytest.raises(Unavailable, match="two"):
        await write_all(range(10), write, 2)
    assert begun == [0, 1, 2, 3]
