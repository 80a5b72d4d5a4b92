"""One shard, owned: commands in, events out, one group commit after the other.

While an append is under way the next commands gather. They are decided against a speculative
state that exists for one append only: an append that fails throws it away, and no answer leaves
before its append has returned. Reads see committed state.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

import structlog

from dataflow.cluster.aggregates import Aggregates
from dataflow.cluster.window import Window, recall
from dataflow.core import commands as c
from dataflow.core import events as e
from dataflow.core.answers import Answer
from dataflow.core.clock import Clock
from dataflow.core.errors import Code, Corrupted, DataFlowError, Fenced, Unavailable
from dataflow.core.ids import SHARDS, Offset, PipelineId, ShardId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.lifecycle import decide, evolve
from dataflow.core.light import replace
from dataflow.core.state import Drain, State
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

UNKNOWN_RETRY_S_MAX = 1.0
"""The longest wait before an append of unknown outcome is repeated."""

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

    async def settled(self) -> None:
        """Return when everything applied so far survives this process."""
        ...

    def applied_offset(self, shard: ShardId) -> Offset:
        """Return up to where a shard's log had been applied when this process began."""
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
        self._appended_since_snapshot = 0
        # Commands spread evenly, and shards that all saved at once would have everyone wait.
        self._snapshot_due = SNAPSHOT_EVENTS * (held.shard % SHARDS + 1) // SHARDS
        self.aggregates = Aggregates({})

    @property
    def held(self) -> Held:
        """The right to write, as of the last append."""
        return self._held

    async def load(self) -> None:
        """Take up the state that the journal holds; projects again what the views have not seen.

        A view that is behind the snapshot has been lost: then the whole log is replayed.

        Raises:
            Corrupted: the log is broken, or ends before what the views have seen; says where.
        """
        seen = self._projection.applied_offset(self._held.shard)
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
            self._projection.apply([one for one in committed if one.event.offset > seen])

    def _replay(self, record: Record) -> Committed | None:
        try:
            event = event_from(record.payload)
            state = evolve(self.aggregates.get(event.pipeline_id), event)
        except Corrupted as error:
            log.exception("quarantined", pipeline=record.pipeline, offset=record.offset)
            self.aggregates.quarantine(record.pipeline, str(error))
            return None
        self.aggregates.put([state])
        if event.command_digest:
            self._window.add(_remember(event, state))
        return Committed(event, state)

    async def handle(self, commands: Sequence[c.Command]) -> Sequence[Answer | DataFlowError]:
        """Decide commands in order, append what happened, and answer them."""
        answers: list[Answer | DataFlowError] = []
        batch = self._batch()
        for command in commands:
            answers.append(self._answer(command, batch))
            if batch.size >= APPEND_BYTES:
                await self._commit(batch)
                batch = self._batch()
        await self._commit(batch)
        return answers

    def _batch(self) -> _Batch:
        return _Batch({}, [], {}, [], self._held, self._clock.now())

    async def _commit(self, batch: _Batch) -> None:
        """Append a batch; only then is what it says true."""
        if not batch.records:
            return
        self._held = await self._append(batch)
        self.aggregates.put(batch.states.values())
        for remembered in batch.remembered.values():
            self._window.add(remembered)
        self._projection.apply(batch.committed)
        await self._snapshot_if_due(len(batch.records))

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
                return _answer(state, batch.now, changed=False)
        else:
            bodies = bodies or (e.CommandAccepted(command=type(command.body).__name__),)
        for body in bodies[:-1]:
            state = self._stamp(state, body, replace(command, digest=b""), batch)
        state = self._stamp(state, bodies[-1], command, batch)
        batch.states[command.pipeline_id] = state
        remembered = _remember(batch.committed[-1].event, state)
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
        """Append, repeating the identical append for as long as its outcome is unknown."""
        append_id = AppendId(f"{batch.held.fence}-{batch.held.head.hex()}")
        wait_s = 0.01
        while True:
            try:
                return await self._journal.append(self._held, batch.records, append_id)
            except Fenced:
                raise
            except Unavailable as error:
                if error.code != Code.OUTCOME_UNKNOWN:
                    raise
                log.warning("append outcome unknown", shard=self._held.shard, why=str(error))
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, UNKNOWN_RETRY_S_MAX)

    async def _snapshot_if_due(self, appended: int) -> None:
        self._appended_since_snapshot += appended
        if self._appended_since_snapshot >= self._snapshot_due:
            self._snapshot_due = SNAPSHOT_EVENTS
            await self.snapshot()

    async def snapshot(self) -> None:
        """Save the shard's state, so that the next owner need not replay to here."""
        if not self._appended_since_snapshot:
            return
        # BEFORE the snapshot the views must hold what it covers: they are not replayed behind it.
        await self._projection.settled()
        payload = snapshot_bytes(self.aggregates.encoded(), self._window.encoded())
        try:
            await self._journal.save_snapshot(
                self._held, Snapshot(self._held.offset, self._held.head, payload)
            )
        except Unavailable as error:
            # Costs the next owner a longer replay, nothing else; the next one may succeed.
            log.warning("no snapshot", shard=self._held.shard, why=str(error))
            return
        self._appended_since_snapshot = 0


def _remember(event: e.Event, state: State) -> Remembered:
    """Return how a command is remembered: told by its last event, first time and at replay."""
    changed = not isinstance(event.body, e.CommandAccepted)
    answer = _answer(state, event.time, changed=changed)
    return Remembered(event.actor, event.command_id, event.command_digest, answer)


def _answer(state: State, time: datetime, *, changed: bool) -> Answer:
    return Answer(
        pipeline_id=state.pipeline_id,
        status=state.status,
        message=_message(state, changed=changed),
        time=time,
        changed=changed,
        version=state.version,
        sequence=state.sequence,
    )


def _message(state: State, *, changed: bool) -> str:
    if state.draining is not Drain.NOTHING:
        return f"pipeline finishes its last checkpoint, to {state.draining}"
    return f"pipeline is {state.status}" if changed else f"pipeline already is {state.status}"
