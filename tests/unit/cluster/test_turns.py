"""Groups that write in turn: what a node's appends promise each other."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from dataflow.cluster import turns
from dataflow.cluster.group import Group
from dataflow.cluster.turns import Turns
from dataflow.core.errors import Unavailable


class Store:
    """Writes that last until they are let go."""

    def __init__(self) -> None:
        self.writing: list[list[str]] = []
        self.let_go = asyncio.Event()
        self._more = asyncio.Event()

    async def write(self, items: Sequence[str]) -> Sequence[str]:
        self.writing.append(list(items))
        self._more.set()
        await self.let_go.wait()
        return items

    async def until_writing(self, count: int) -> None:
        """Return once so many writes have begun."""
        async with asyncio.timeout(30):
            while len(self.writing) < count:
                self._more.clear()
                await self._more.wait()


def group(store: Store, tasks: asyncio.TaskGroup, shared: Turns) -> Group[str, str]:
    """Return a group that writes there in turn."""
    return Group(store.write, tasks, items_max=9, waiting_max=9, turns=shared)


async def test_what_waits_for_its_turn_gathers() -> None:
    """A write costs more than what is in it: it takes all that has come by then."""
    store, shared = Store(), Turns(1)
    async with asyncio.TaskGroup() as tasks:
        first, second = group(store, tasks, shared), group(store, tasks, shared)
        _ = first.submit("a")
        await store.until_writing(1)
        _ = second.submit("b")
        await asyncio.sleep(0)
        _ = second.submit("c")
        await asyncio.sleep(0)
        assert store.writing == [["a"]]
        store.let_go.set()
    assert store.writing == [["a"], ["b", "c"]]


async def test_a_write_without_an_answer_keeps_the_others_waiting_for_a_while_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A store that does not answer for one shard may well answer for the next."""
    monkeypatch.setattr(turns, "TURN_S_MAX", 0.01)
    store, shared = Store(), Turns(1)
    async with asyncio.TaskGroup() as tasks:
        _ = group(store, tasks, shared).submit("a")
        _ = group(store, tasks, shared).submit("b")
        await store.until_writing(2)
        store.let_go.set()


async def test_turns_come_back_once_however_they_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many would let everyone write at once; one lost would end all writing one day."""
    monkeypatch.setattr(turns, "TURN_S_MAX", 0.01)
    store, shared = Store(), Turns(2)
    async with asyncio.TaskGroup() as tasks:
        slow, waiting = group(store, tasks, shared), group(store, tasks, shared)
        refused = [slow.submit("slow"), waiting.submit("given up")]
        await store.until_writing(2)
        await asyncio.sleep(0.05)  # both turns are over by time
        slow.cancel(Unavailable("gone"))
        waiting.cancel(Unavailable("gone"))
        await asyncio.wait(refused)
        assert all(isinstance(future.exception(), Unavailable) for future in refused)
        monkeypatch.setattr(turns, "TURN_S_MAX", 60)
        for name in "xyz":
            _ = group(store, tasks, shared).submit(name)
        await store.until_writing(4)
        for _ in range(9):
            await asyncio.sleep(0)
        assert store.writing[2:] == [["x"], ["y"]]
        store.let_go.set()
    assert store.writing[4:] == [["z"]]


async def test_a_group_that_is_closed_while_it_waits_writes_nothing() -> None:
    """Its callers were refused: what was refused must not happen."""
    store, shared = Store(), Turns(1)
    async with asyncio.TaskGroup() as tasks:
        first, second = group(store, tasks, shared), group(store, tasks, shared)
        _ = first.submit("a")
        await store.until_writing(1)
        refused = second.submit("b")
        await asyncio.sleep(0)
        second.close(Unavailable("gone"))
        store.let_go.set()
    assert isinstance(refused.exception(), Unavailable)
    assert store.writing == [["a"]]
