"""What keeps a command from being lost, told too early or carried out twice, taken out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from dataflow.cluster import shard as shard_module
from dataflow.cluster.routing import Router
from dataflow.cluster.shard import Shard
from dataflow.cluster.window import Window
from dataflow.core.errors import Code, Fenced, Unavailable
from dataflow.core.ids import CommandId, ShardId
from dataflow.core.light import replace as light_replace
from dataflow.journal.contract import AppendId, Held, Record
from tests.simulation.processes import PROCESS


async def append_or_fail(self: Shard, batch: Any) -> Held:
    """An unknown outcome is taken for a failure."""
    append_id = AppendId(f"{batch.held.fence}-{batch.held.head.hex()}")
    return await self._journal.append(self._held, batch.records, append_id)


async def append_or_pretend(self: Shard, batch: Any) -> Held:
    """An unknown outcome is taken for a success."""
    try:
        return await append_or_fail(self, batch)
    except Fenced:
        raise
    except Unavailable as error:
        if error.code != Code.OUTCOME_UNKNOWN:
            raise
        held: Held = batch.held
        return held


async def append_under_new_names(self: Shard, batch: Any) -> Held:
    """An unknown append is repeated, but not identically."""
    tries = 0
    while True:
        tries += 1
        try:
            append_id = AppendId(f"{batch.held.head.hex()}-{tries}")
            return await self._journal.append(self._held, batch.records, append_id)
        except Fenced:
            raise
        except Unavailable as error:
            if error.code != Code.OUTCOME_UNKNOWN:
                raise
        await asyncio.sleep(0.01)


async def handle_before_it_is_durable(self: Shard, commands: Sequence[Any]) -> Sequence[Any]:
    """An answer leaves before its append has returned."""
    batch = shard_module._Batch({}, [], {}, [], self._held, self._clock.now())
    answers = [self._answer(command, batch) for command in commands]
    if batch.records:
        before = self._held
        self._held = batch.held
        self._appended(batch)

        async def append() -> None:
            await self._journal.append(before, batch.records, AppendId(batch.held.head.hex()))

        PROCESS.get().spawn(append())
    return answers


def find_nothing(self: Window, command: Any) -> None:
    """A command that comes again is a new one."""


def replay_without_commands(self: Shard, record: Record) -> Any:
    """The window is not made again from the log."""
    window, self._window = self._window, Window()
    try:
        return _replay(self, record)
    finally:
        self._window = window


_replay = Shard._replay


def encoded_nothing(self: Window) -> list[bytes]:
    """The window is not in the snapshot."""
    return []


def decide_on_what_may_not_happen(self: Shard, command: Any, batch: Any) -> Any:
    """Reads see what is not durable yet."""
    answer = _decide(self, command, batch)
    self.aggregates.put(batch.states.values())
    return answer


_decide = Shard._decide


async def ask_under_a_new_id(self: Router, shard: ShardId, commands: Sequence[Any]) -> Any:
    """A gateway that asks again makes a new command of it."""
    self.__dict__["tries"] = self.__dict__.get("tries", 0) + 1
    renamed = [
        light_replace(one, command_id=CommandId(f"{one.command_id}+{self.__dict__['tries']}"))
        for one in commands
    ]
    return await _router_try(self, shard, renamed)


_router_try = Router._try
