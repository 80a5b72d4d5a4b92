"""The source of a run that no step is: dead letters that shall be replayed.

Each entry of a replay goes into the graph where its letters fell out of it, as one item, and its
end is decided with what comes of it: so it is replayed once, wherever a run breaks. Requests may
come twice, late, or several for one letter. The run, of which there is one that can decide,
therefore takes only letters that are still kept and that no other entry has taken.

An entry of a step or source is a split more of its input. It waits until every source behind that
input is being read, so that a join has its table and event time its other splits; and sources
that end wait for it. Where all of them have ended already, it waits for the next run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import suppress
from dataclasses import dataclass, replace

import pyarrow as pa
import structlog

from dataflow.connect.gathering import size_of
from dataflow.connect.transform import ORDINAL
from dataflow.core.checkpoint import DEAD_LETTERS, Checkpoint
from dataflow.core.errors import Unavailable
from dataflow.core.graph import Graph, upstream
from dataflow.core.ids import Run, SplitId
from dataflow.engine.channel import Channel
from dataflow.engine.items import Item, Replayed
from dataflow.engine.reader import Gate, count_up
from dataflow.engine.replays import Asked, Entry, name_of
from dataflow.engine.surroundings import TaskSurroundings

log = structlog.get_logger()

POLL_S = 2.0
"""Between two looks for requests, by a run whose pipeline has letters; others need not look."""

LOOK_AFTER_S = 20.0
"""Before the first look of a run that knows of no letters: when a node has taken over thousands
of pipelines, each of them reads and writes first. Sources that end wait for that look."""


@dataclass(frozen=True, slots=True)
class _Due:
    """An entry that has not entered yet, and the sources that bring rows where it does."""

    split: SplitId
    entry: Entry
    sources: AbstractSet[str]


class Replaying(Gate):
    """Brings entries into a task, and forgets them when they are decided."""

    def __init__(
        self,
        graph: Graph,
        waits: Mapping[str, AbstractSet[str]],
        run: Run,
        around: TaskSurroundings,
        *,
        channel: Channel[Item],
        numbers: bool,
    ) -> None:
        """``numbers`` as for a ``Reader``."""
        self._numbers = numbers
        self._graph = graph
        self._waits = waits
        self._run = run
        self._lane = around.lane
        self._letters = around.dead_letters
        self._replays = around.replays
        self._probe = around.probe
        self._channel = channel
        self._decided = ""
        """The letters that were decided where the run began."""
        self._is_swept = False
        self._looking = asyncio.Lock()
        self._asked: dict[str, Asked] = {}
        self._due: list[_Due] = []
        self._taken: dict[str, SplitId] = {}
        """Letters that an entry has taken, until they are gone."""
        self._void: set[SplitId] = set()
        """Entries of steps that the pipeline has no more; their letters stay."""
        self._listed: set[str] = set()
        self._ended: set[str] = set()
        self._turn = asyncio.Condition()
        self._changed = asyncio.Event()
        self.records = 0
        self.moves = 0
        """Entries none of whose letters was left."""

    # --- what is decided -------------------------------------------------------------------------

    async def open(self, start: Checkpoint) -> Checkpoint:
        """Forget what is decided; returns the checkpoint without what it says of that."""
        self._decided = start.committables.get(DEAD_LETTERS, "")
        if any(ledger.records_dead_lettered for ledger in start.ledgers.values()):
            self._letters.some.set()
        positions = start.positions
        if any(map(name_of, positions)):
            self._letters.some.set()
            await self._look(start)
        await self._forget(self._fulfilled(start))
        kept = {n: p for n, p in positions.items() if not name_of(n) or name_of(n) in self._asked}
        return replace(start, positions=kept)

    async def decided(self, checkpoint: Checkpoint) -> Sequence[SplitId]:
        """Let the letters be gone whose rows are decided; AFTER the decision, again is no harm.

        Returns:
            the splits of which nothing has to be known any more.
        """
        fulfilled = self._fulfilled(checkpoint)
        await self._forget(fulfilled)
        return [split for asked in fulfilled for split in asked.splits]

    def _fulfilled(self, checkpoint: Checkpoint) -> Sequence[Asked]:
        return [
            asked
            for asked in self._asked.values()
            if all(s in self._void or _is_decided(checkpoint, s) for s in asked.splits)
        ]

    async def _forget(self, fulfilled: Sequence[Asked]) -> None:
        """Remove letters BEFORE their replay: without it, a decision would protect them no more."""
        for asked in fulfilled:
            each = zip(asked.splits, asked.entries, strict=True)
            replayed = [k for s, entry in each if s not in self._void for k in entry.letters]
            await self._letters.remove(replayed)
            self._probe("replay.removed")
            await self._replays.forget(asked.name)
            self._probe("replay.forgotten")
            del self._asked[asked.name]
            own = set(asked.splits)
            self._void -= own
            self._taken = {k: split for k, split in self._taken.items() if split not in own}
            self._letters.untrace(own)

    async def _look(self, known: Checkpoint) -> None:
        """Take up requests that are new."""
        for name in await self._replays.names():
            if name in self._asked:
                continue
            self._asked[name] = asked = await self._replays.get(name)
            for split, entry in zip(asked.splits, asked.entries, strict=True):
                if _is_decided(known, split):
                    self._taken |= dict.fromkeys(entry.letters, split)
                elif (sources := sources_behind(self._graph, entry.step, entry.input)) is not None:
                    self._due.append(_Due(split, entry, sources))
                else:
                    log.warning("not replayed: the step is gone", step=entry.step, request=name)
                    self._void.add(split)
        self._changed.set()

    # --- into the task ---------------------------------------------------------------------------

    def listed(self, source: str) -> None:
        """See ``Gate``; a scheduled source that had ended is read anew."""
        self._listed.add(source)
        self._ended.discard(source)
        self._changed.set()

    async def ending(self, source: str) -> None:
        """See ``Gate``: what enters behind this source does so before it ends."""
        await self._look_once()
        async with self._turn:
            await self._turn.wait_for(lambda: not any(self._holds(d, source) for d in self._due))
            self._ended.add(source)

    def _holds(self, due: _Due, source: str) -> bool:
        """Tell whether a source may not end before an entry; one that others wait for has to."""
        return source in due.sources and not any(source in self._waits[s] for s in due.sources)

    async def settled(self) -> None:
        """Return when all has entered that waits for no source."""
        await self._look_once()
        async with self._turn:
            await self._turn.wait_for(lambda: all(due.sources for due in self._due))

    async def read(self) -> None:
        """Bring in what there is, and what is asked for meanwhile, for ever."""
        await self._until_some()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_entering())
            tasks.create_task(self._keep_looking())

    async def _keep_entering(self) -> None:
        while True:
            self._changed.clear()
            for due in list(self._due):
                async with self._turn:
                    if self._may_enter(due):
                        await self._enter(due)
                        self._due.remove(due)
                        self._turn.notify_all()
            await self._changed.wait()

    async def _until_some(self) -> None:
        """Return once there are letters; those of earlier runs are looked for after a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_AFTER_S):
                await self._letters.some.wait()
        while not (self._is_swept or self._letters.some.is_set()):
            with suppress(Unavailable):  # a run does well without; the next look may find some
                await self._look_around()
                break
            await asyncio.sleep(POLL_S)
        await self._letters.some.wait()

    async def _keep_looking(self) -> None:
        while True:
            with suppress(Unavailable):
                await self._look_around()
            await asyncio.sleep(POLL_S)

    async def _look_once(self) -> None:
        if not self._is_swept:
            await self._look_around()

    async def _look_around(self) -> None:
        """Sweep, unless that has been done, and look for requests where there may be any.

        Of several lanes the first replays the letters of all, and does not hear of the others'.
        """
        async with self._looking:
            if not self._is_swept:
                await self._letters.sweep(self._run, self._decided)
                self._is_swept = True
                if self._lane.of > 1 and self._lane.index == 0:
                    self._letters.some.set()
            if self._letters.some.is_set() and self._lane.index == 0:
                await self._look(Checkpoint())

    def _may_enter(self, due: _Due) -> bool:
        all_ended = bool(due.sources) and due.sources <= self._ended
        return due.sources <= self._listed and not all_ended

    async def _enter(self, due: _Due) -> None:
        entry = due.entry
        present = await self._letters.present(entry.letters)
        left = [i for i, k in enumerate(entry.letters) if k in present and k not in self._taken]
        rows = entry.rows
        if self._numbers:
            rows = rows.append_column(ORDINAL, count_up(0, rows.num_rows))
        rows = rows.take(pa.array(left, pa.int64()))
        self._taken |= {entry.letters[i]: due.split for i in left}
        self._letters.trace(due.split, entry.splits, entry.ordinals)
        item = Replayed(entry.step, entry.input, due.split, rows)
        await self._channel.put(item, size_of(rows))
        self.records += rows.num_rows
        self.moves += rows.num_rows == 0


def sources_behind(graph: Graph, step: str, by: str) -> AbstractSet[str] | None:
    """Return the sources behind where letters enter; None if the graph has no such place."""
    if step in graph.sources and not by:
        return {step}
    if step in graph.sinks and not by:
        return frozenset()
    feeds = [feed for feed in graph.feeds.get(step, ()) if str(feed) == by]
    return upstream(graph, feeds) & graph.sources.keys() if feeds else None


def _is_decided(checkpoint: Checkpoint, split: SplitId) -> bool:
    position = checkpoint.positions.get(split)
    return position is not None and position.ended
