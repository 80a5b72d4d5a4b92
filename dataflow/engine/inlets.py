"""The sources of a task: opened, read in their order, told of what is decided."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from dataflow.connect import Position, Rejected, Split, Waiting
from dataflow.core.checkpoint import Checkpoint, SplitPosition
from dataflow.core.clock import Clock
from dataflow.core.events import ErrorType
from dataflow.core.ids import SplitId
from dataflow.engine.channel import Channel
from dataflow.engine.failure import blaming
from dataflow.engine.items import Item
from dataflow.engine.reader import Reader
from dataflow.engine.replaying import Replaying
from dataflow.engine.splits import SplitNames
from dataflow.engine.steps import Input
from dataflow.engine.tasks import all_of


@dataclass(frozen=True, slots=True)
class Inlets:
    """The sources of one task. ``waits`` names, by source, those that are read before it."""

    inputs: Sequence[Input]
    waits: Mapping[str, AbstractSet[str]]
    replaying: Replaying

    async def open(self, start: Checkpoint, waiting: Callable[[str], None]) -> Checkpoint:
        """Open each source; returns the checkpoint with what they pin, and where they begin.

        Args:
            start: where the run begins.
            waiting: told what is waited for, while what a source reads is not there.
        """
        start = await self.replaying.open(start)
        for source in self.inputs:
            with blaming(ErrorType.SOURCE, source.name):
                start = await _open(source, start, waiting)
                self._refuse_endless_table(source)
                if source.schedule is not None and not source.source.bounded:
                    raise Rejected(
                        "never ends, so it cannot be read in rounds; leave out the schedule",
                        field="schedule",
                    )
        return start

    def named(self, source: str) -> SplitNames:
        """Return the names of a source's splits."""
        return next(each.splits for each in self.inputs if each.name == source)

    def _refuse_endless_table(self, source: Input) -> None:
        asking = [name for name, before in self.waits.items() if source.name in before]
        if asking and not source.source.bounded:
            raise Rejected(
                f"never ends, and {asking[0]!r} is read behind it: the table of a join has to end"
            )

    def readers(
        self,
        start: Checkpoint,
        channel: Channel[Item],
        clock: Clock,
        *,
        numbers: bool,
    ) -> Readers:
        """Return what reads them from a checkpoint on."""
        tables = set().union(*self.waits.values())
        made = [
            Reader(
                each,
                start,
                channel,
                clock,
                numbers=numbers,
                at_once=each.name in tables,
                gate=self.replaying,
            )
            for each in self.inputs
        ]
        return Readers(self, made)

    async def acknowledge(self, positions: Mapping[SplitId, Position]) -> None:
        """Tell each source up to where its records are decided."""
        for source in self.inputs:
            with blaming(ErrorType.SOURCE, source.name):
                for name, position in positions.items():
                    if (split := source.splits.own(name)) is not None:
                        await source.source.acknowledge(Split(split), position)

    async def lag(self) -> tuple[int, int]:
        """Return records and bytes that wait unread in all of them; -1 for what is not known."""
        found = [await source.source.lag() for source in self.inputs]
        records, sizes = ([one[i] for one in found] for i in (0, 1))
        return _sum(records), _sum(sizes)

    async def close(self) -> None:
        """Release them all, whichever fails."""
        await all_of([source.source.close() for source in self.inputs])


class Readers:
    """Reads every source, each once those that it waits for have ended."""

    def __init__(self, inlets: Inlets, readers: Sequence[Reader]) -> None:
        self._inlets = inlets
        self._replaying = inlets.replaying
        self._readers = readers
        self._ended = {source.name: asyncio.Event() for source in inlets.inputs}

    async def read(self, exhausted: Callable[[], None]) -> None:
        """Read until all are exhausted, for ever if one of them is unbounded."""
        async with asyncio.TaskGroup() as tasks:
            replaying = tasks.create_task(self._replaying.read())
            each = zip(self._inlets.inputs, self._readers, strict=True)
            await all_of([self._read(source.name, reader) for source, reader in each])
            if all(event.is_set() for event in self._ended.values()):
                await self._replaying.settled()
                replaying.cancel()
                exhausted()

    async def _read(self, name: str, reader: Reader) -> None:
        with blaming(ErrorType.SOURCE, name):
            for before in sorted(self._inlets.waits[name]):
                await self._ended[before].wait()
            await reader.read(self._ended[name].set)

    @property
    def records(self) -> int:
        """Return how many records have been read."""
        return self._replaying.records + sum(reader.records for reader in self._readers)

    @property
    def moves(self) -> int:
        """Return how often a position has moved on without a record."""
        return self._replaying.moves + sum(reader.moves for reader in self._readers)

    @property
    def waiting(self) -> str:
        """Return what a source waits for; empty while all read."""
        return next((reader.waiting for reader in self._readers if reader.waiting), "")


async def _open(source: Input, start: Checkpoint, waiting: Callable[[str], None]) -> Checkpoint:
    text = start.pinned.get(source.name, "")
    pinned = source.pinned.model_validate_json(text) if text else None
    source.source.resumes = source.resumes(start.positions)
    while True:
        try:
            pinned = await source.source.open(pinned)
            break
        except Waiting as error:
            waiting(error.message)
            await asyncio.sleep(source.poll_interval_s)
    if pinned is not None:
        start = replace(start, pinned={**start.pinned, source.name: pinned.model_dump_json()})
    if start.latest and not start.seeded:
        start = replace(start, positions={**start.positions, **await _latest(source)})
    return start


async def _latest(source: Input) -> Mapping[str, SplitPosition]:
    """Return where a lineage begins that begins at the end; it is decided with the seed."""
    found: dict[str, SplitPosition] = {}
    for split in await source.listed():
        latest = await source.source.latest(split)
        name = source.splits.named(split.id)
        found[name] = SplitPosition(position=latest.model_dump_json())
    return found


def _sum(counts: Sequence[int]) -> int:
    return -1 if -1 in counts else sum(counts)
