"""A pipeline's past, read from its events: old versions, old checkpoints, the state it was in."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from datetime import datetime

from dataflow.core import events as e
from dataflow.core.checkpoint import Checkpoint
from dataflow.core.clock import Clock
from dataflow.core.errors import Corrupted, Rejected
from dataflow.core.events import Event
from dataflow.core.ids import PipelineId, Version
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.lifecycle import evolve
from dataflow.core.spec import PipelineSpec
from dataflow.core.state import State
from dataflow.journal.contract import Journal
from dataflow.server.backend import EVENTS_BYTES_MAX, SpecVersion
from dataflow.views.contract import Views
from dataflow.wire.journalled import event_from

PAGE = 200
"""Events read at a time: about 100 KiB."""

AUDITS = frozenset(
    kind.__name__
    for kind in (e.CheckpointUpdated, e.PipelineStopped, e.PipelinePaused, e.PipelineFailed)
)
"""The events that hold a copy of the latest decision."""


class Past:
    """The pasts of all pipelines; the views say where to look, the journal says what was."""

    def __init__(self, journal: Journal, views: Views, clock: Clock) -> None:
        self._journal = journal
        self._views = views
        self._clock = clock

    async def events(
        self, pipeline: PipelineId, after: SequenceNumber, limit: int
    ) -> Sequence[Event]:
        """Return a page of a pipeline's events, in order; it ends behind ``EVENTS_BYTES_MAX``."""
        found: list[Event] = []
        size = 0
        while len(found) < limit and size <= EVENTS_BYTES_MAX:
            wanted = min(limit - len(found), PAGE)
            records = await self._journal.history(pipeline, after, wanted)
            for record in records:
                size += len(record.payload)
                found.append(event_from(record.payload))
                if size > EVENTS_BYTES_MAX:
                    return found
            if len(records) < wanted:
                break
            after = found[-1].sequence
        return found

    async def events_of(
        self, pipeline: PipelineId, event_type: str, after: SequenceNumber, limit: int
    ) -> Sequence[Event]:
        """Return a page of a pipeline's events of one type, in order."""
        await self._views.settled()
        entries = await self._views.events(pipeline, {event_type}, after, limit)
        found: list[Event] = []
        size = 0
        for entry in entries:
            event, length = await self._sized(pipeline, entry.sequence)
            found.append(event)
            size += length
            if size > EVENTS_BYTES_MAX:
                break
        return found

    async def state(self, pipeline: PipelineId, until: Callable[[Event], bool]) -> State:
        """Return the state after the last event before the first that ``until`` says no to."""
        state = State(pipeline_id=pipeline)
        async for event in self._all(pipeline):
            if not until(event):
                break
            state = evolve(state, event)
        return state

    async def versions(
        self, pipeline: PipelineId, before: Version, limit: int
    ) -> Sequence[SpecVersion]:
        """Return the versions of a spec below ``before`` (0: all), the latest first."""
        await self._views.settled()
        entries = await self._views.versions(pipeline, before, limit)
        return [_version(await self._event(pipeline, entry.sequence)) for entry in entries]

    async def version(
        self, pipeline: PipelineId, version: Version
    ) -> tuple[PipelineSpec, Checkpoint | None] | None:
        """Return an old version's spec, and how far it had got when it was replaced."""
        found = await self.versions(pipeline, Version(version + 2), 2)
        by_number = {one.version: one for one in found}
        if version not in by_number:
            return None
        successor = by_number.get(Version(version + 1))
        if successor is None:
            return by_number[version].spec, None
        event = await self._event(pipeline, successor.sequence)
        replaced = event.body.replaced if isinstance(event.body, e.ConfigUpdated) else None
        return by_number[version].spec, replaced

    async def checkpoint(
        self, pipeline: PipelineId, sequence: SequenceNumber, time: datetime | None
    ) -> Checkpoint | None:
        """Return the last checkpoint audited at or before an event or a moment.

        Raises:
            Rejected: neither has been yet.
        """
        if time is None:
            await self._must_exist(pipeline, sequence)
        else:
            must_be_past(time, self._clock.now(), "time")
        await self._views.settled()
        entry = await self._views.latest(pipeline, AUDITS, sequence if time is None else time)
        if entry is None:
            return None
        body = (await self._event(pipeline, entry.sequence)).body
        match body:
            case e.CheckpointUpdated() | e.PipelineStopped() | e.PipelinePaused():
                return body.checkpoint
            case e.PipelineFailed():
                return body.checkpoint
            case _:
                return None

    async def _must_exist(self, pipeline: PipelineId, sequence: SequenceNumber) -> None:
        if await self._journal.history(pipeline, SequenceNumber(sequence - 1), 1):
            return
        if await self._journal.history(pipeline, SequenceNumber(0), 1):
            raise not_yet(sequence, "sequence")

    async def _event(self, pipeline: PipelineId, sequence: SequenceNumber) -> Event:
        return (await self._sized(pipeline, sequence))[0]

    async def _sized(self, pipeline: PipelineId, sequence: SequenceNumber) -> tuple[Event, int]:
        """Return an event, and how many bytes it has in the journal."""
        found = await self._journal.history(pipeline, SequenceNumber(sequence - 1), 1)
        event = event_from(found[0].payload) if found else None
        if event is None or event.sequence != sequence:
            raise Corrupted(f"event {sequence} of {pipeline!r} is in the index, not in the journal")
        return event, len(found[0].payload)

    async def _all(self, pipeline: PipelineId) -> AsyncGenerator[Event, None]:
        after = SequenceNumber(0)
        while page := await self.events(pipeline, after, PAGE):
            for event in page:
                yield event
            after = page[-1].sequence


def must_be_past(time: datetime, now: datetime, field: str) -> None:
    """Refuse a moment of which nobody can know; raises ``Rejected``."""
    if time > now:
        raise Rejected("is in the future; use a time that has passed", field=field)


def not_yet(sequence: SequenceNumber, field: str) -> Rejected:
    """Return the error for an event that has not happened."""
    message = f"there is no event {sequence} yet; list the events to see those there are"
    return Rejected(message, field=field)


def _version(event: Event) -> SpecVersion:
    match event.body:
        case e.PipelineCreated() as created:
            version, back, spec = Version(1), Version(0), created.spec
        case e.ConfigUpdated() as updated:
            version, back, spec = updated.version, updated.rollback_to, updated.spec
        case _:
            raise Corrupted(f"event {event.sequence} of {event.pipeline_id!r} makes no version")
    return SpecVersion(version, event.sequence, event.time, event.actor, back, spec)
