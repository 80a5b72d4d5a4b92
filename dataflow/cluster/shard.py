"""One shard, owned: commands in, events out, one group commit after the other.

While an append is under way the next commands gather. They are decided against a speculative
state that exists for one append only: an append that fails throws it away, and no answer leaves
before its append has returned. Reads see committed state.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import NamedTuple, Protocol

import structlog

from dataflow.cluster.aggregates import Aggregates
from dataflow.cluster.doubt import until_known
from dataflow.cluster.window import Window, answer, recall, remember
from dataflow.core import commands as c
from dataflow.core import events as e
from dataflow.core.answers import Answer
from dataflow.core.clock import Clock
from dataflow.core.errors import Corrupted, DataFlowError
from dataflow.core.ids import SHARDS, Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.lifecycle import decide, evolve
from dataflow.core.light import replace
from dataflow.core.state import State
from dataflow.journal.contract import APPEND_BYTES, AppendId, Held, Journal, Record, Snapshot, link
from dataflow.journal.rules import check_seen
from dataflow.wire.journalled import (
    Remembered,
    event_bytes,
    event_from,
    snapshot_bytes,
    snapshot_from,
)

log = structlog.get_logger()

SNAPSHOT_EVENTS = 1_000
"""Events between snapshots: replaying so many in each of 64 shards takes about five seconds."""

NEW_SPEC = (e.PipelineCreated, e.ConfigUpdated)
ENGINE_COMMANDS = (c.BeginRun, c.RecordCheckpoint, c.FinishRun, c.ReportFailure)


class Committed(NamedTuple):
    """An event that is durable, and the pipeline after it."""

    event: e.Event
    state: State


class Projection(Protocol):
    """Who is told of every committed event, in order, before its command is answered."""

    def apply(self, committed: Sequence[Committed]) -> None:
        """Take note; never waits."""
        ...

    def replay(self, committed: Sequence[Committed]) -> None:
        """Take note of what was committed before the shard came here; never waits."""
        ...

    async def settled(self, shard: ShardId) -> None:
        """Return when everything applied so far of a shard survives this process."""
        ...

    async def applied_offset(self, shard: ShardId) -> Offset:
        """Return up to where a shard's log has been applied, for good."""
        ...


@dataclass(slots=True)
class _Batch:
    """What one append will hold: the speculative state, alive until the append returns."""

    states: dict[PipelineId, State]
    committed: list[Committed]
    remembered: dict[tuple[str, str], Remembered]
    records: list[Record]
    held: Held
    now: datetime
    size: int = 0
    """Bytes of the records' payloads."""


class Shard:
    """The commands and aggregates of one shard; ``handle`` is called by one group commit."""

    def __init__(
        self,
        journal: Journal,
        held: Held,
        clock: Clock,
        projection: Projection,
    ) -> None:
        self._journal = journal
        self._held = held
        self._clock = clock
        self._projection = projection
        self._window = Window()
        self._saving = asyncio.Lock()
        self._appended_since_snapshot = 0
        # Commands spread evenly, and shards that all saved at once would have everyone wait.
        self._snapshot_due = SNAPSHOT_EVENTS * (held.shard % SHARDS + 1) // SHARDS
        self.aggregates = Aggregates({})

    @property
    def held(self) -> Held:
        """The right to write, as of the last append."""
        return self._held

    async def load(self) -> None:
        """Take up the state that the journal holds, and project again all that is replayed.

        A view that is behind the snapshot has been lost: then the whole log is replayed. One that
        is ahead has still passed over a quarantine that an upgrade may have ended (the rest it has
        is 10 us an event, a quarter of a replay's time).

        Raises:
            Corrupted: the log is broken, or ends before what the views have seen; says where.
        """
        seen = await self._projection.applied_offset(self._held.shard)
        check_seen(self._held, seen, self._journal)
        snapshot = await self._journal.load_snapshot(self._held.shard)
        after = Offset(0)
        if snapshot is not None and snapshot.offset <= seen:
            states, remembered = snapshot_from(snapshot.payload)
            self.aggregates, self._window = Aggregates(states), Window(remembered)
            after = snapshot.offset
        async for page in self._journal.read(self._held.shard, after):
            committed = [one for record in page if (one := self._replay(record))]
            self._appended_since_snapshot += len(page)
            self._projection.replay(committed)

    def _replay(self, record: Record) -> Committed | None:
        """Take up an event; None from the first of a pipeline on that cannot be understood."""
        if record.pipeline in self.aggregates.quarantined:
            return None
        try:
            event = event_from(record.payload)
            state = evolve(self.aggregates.get(event.pipeline_id), event)
        except Corrupted as error:
            log.exception("quarantined", pipeline=record.pipeline, offset=record.offset)
            self.aggregates.quarantine(record.pipeline, str(error))
            return None
        self.aggregates.put([state])
        if event.command_digest:
            self._window.add(remember(event, state))
        return Committed(event, state)

    async def handle(self, commands: Sequence[c.Command]) -> Sequence[Answer | DataFlowError]:
        """Decide commands in order, append what happened, and answer them.

        The error of an append is the answer to its own commands alone: what another one holds is
        durable, and its callers must not hear anything else.
        """
        waiting = deque(commands)
        answers: list[Answer | DataFlowError] = []
        while waiting:
            answers += await self._handle_some(waiting)
        return answers

    async def _handle_some(self, waiting: deque[c.Command]) -> Sequence[Answer | DataFlowError]:
        """Take as many commands as fill one append."""
        batch = _Batch({}, [], {}, [], self._held, self._clock.now())
        answers: list[Answer | DataFlowError] = []
        while waiting and batch.size < APPEND_BYTES:
            answers.append(self._answer(waiting.popleft(), batch))
        if batch.records:
            try:
                self._held = await self._append(batch)
            except DataFlowError as error:
                return [error] * len(answers)
            self._appended(batch)
        return answers

    def _appended(self, batch: _Batch) -> None:
        """Take up what is true from now on; nothing here may fail the commands."""
        self.aggregates.put(batch.states.values())
        for remembered in batch.remembered.values():
            self._window.add(remembered)
        self._projection.apply(batch.committed)
        self._appended_since_snapshot += len(batch.records)

    def _answer(self, command: c.Command, batch: _Batch) -> Answer | DataFlowError:
        try:
            return self._decide(command, batch)
        except DataFlowError as error:
            return error

    def _decide(self, command: c.Command, batch: _Batch) -> Answer:
        key = (command.actor, command.command_id)
        known = recall(batch.remembered.get(key), command) or self._window.find(command)
        if known:
            return known
        state = batch.states.get(command.pipeline_id) or self.aggregates.get(command.pipeline_id)
        bodies = decide(state, command.body, batch.now)
        if isinstance(command.body, ENGINE_COMMANDS):
            if not bodies:
                return answer(state, batch.now, changed=False)
        else:
            bodies = bodies or (e.CommandAccepted(command=type(command.body).__name__),)
        for body in bodies[:-1]:
            state = self._stamp(state, body, replace(command, digest=b""), batch)
        state = self._stamp(state, bodies[-1], command, batch)
        batch.states[command.pipeline_id] = state
        remembered = remember(batch.committed[-1].event, state)
        if command.digest:
            batch.remembered[key] = remembered
        return remembered.answer

    def _stamp(self, state: State, body: e.Body, command: c.Command, batch: _Batch) -> State:
        held = batch.held
        spec = body.spec if isinstance(body, NEW_SPEC) else state.spec
        tags = {"type": type(body).__name__}
        for name, value in spec.labels.items():
            tags[f"label.{name}"] = value
        event = e.Event(
            pipeline_id=command.pipeline_id,
            offset=Offset(held.offset + 1),
            sequence=SequenceNumber(state.sequence + 1),
            time=batch.now,
            actor=command.actor,
            command_id=command.command_id,
            body=body,
            command_digest=command.digest,
            tags=tags,
        )
        payload = event_bytes(event)
        head = link(held.head, event.offset, payload)
        record = Record(
            offset=event.offset,
            pipeline=event.pipeline_id,
            sequence=event.sequence,
            type=event.type,
            time=event.time,
            actor=event.actor,
            command_id=event.command_id,
            payload=payload,
            hash=head,
        )
        evolved = evolve(state, event)
        batch.records.append(record)
        batch.size += len(payload)
        batch.committed.append(Committed(event, evolved))
        batch.held = Held(held.shard, held.fence, event.offset, head)
        return evolved

    async def _append(self, batch: _Batch) -> Held:
        append_id = AppendId(f"{batch.held.fence}-{batch.held.head.hex()}")
        append = partial(self._journal.append, self._held, batch.records, append_id)
        return await until_known(append, "append", self._held.shard)

    def snapshot_falls_due(self) -> bool:
        """Tell, once, that enough has been appended for another snapshot."""
        if self._appended_since_snapshot < self._snapshot_due:
            return False
        # BEFORE it is tried: one that fails is tried again later, not behind every append.
        self._snapshot_due = self._appended_since_snapshot + SNAPSHOT_EVENTS
        return True

    async def snapshot(self) -> None:
        """Save the shard's state, so that the next owner need not replay to here.

        What is appended meanwhile waits for nothing, and for the next snapshot. Fails nothing: one
        that cannot be saved costs the next owner a longer replay. None is saved while a pipeline is
        in quarantine: the replay must find again what could not be read.
        """
        async with self._saving:
            await self._save()

    async def _save(self) -> None:
        if not self._appended_since_snapshot or self.aggregates.quarantined:
            return
        held, appended = self._held, self._appended_since_snapshot
        payload = snapshot_bytes(self.aggregates.encoded(), self._window.encoded())
        try:
            # BEFORE the snapshot the views must hold what it covers: they are not replayed behind
            # it.
            await self._projection.settled(held.shard)
            await self._journal.save_snapshot(held, Snapshot(held.offset, held.head, payload))
        except DataFlowError as error:
            log.warning("no snapshot", shard=self._held.shard, why=str(error))
            return
        self._appended_since_snapshot -= appended
        self._snapshot_due = SNAPSHOT_EVENTS
