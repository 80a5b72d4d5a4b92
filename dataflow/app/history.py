"""A pipeline's past, read from its events: old versions, old checkpoints, the state it was in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime

from dataflow.core import events as e
from dataflow.core.checkpoint import Checkpoint
from dataflow.core.events import Event
from dataflow.core.ids import PipelineId, Sequence, Version
from dataflow.core.lifecycle import State, evolve
from dataflow.core.spec import PipelineSpec
from dataflow.journal.contract import Journal
from dataflow.wire.journalled import event_from

PAGE = 200
"""Events read at a time: about 100 KiB."""

SEQUENCE_MAX = Sequence(2**62)


class PastOf:
    """The pasts of all pipelines; implements ``cluster.host.History``."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    async def events(
        self, pipeline: PipelineId, after: Sequence = Sequence(0)
    ) -> AsyncIterator[Event]:
        """Yield a pipeline's events behind ``after``, in order."""
        while records := await self._journal.history(pipeline, after, PAGE):
            for record in records:
                yield event_from(record.payload)
            after = records[-1].sequence

    async def state(self, pipeline: PipelineId, until: Callable[[Event], bool]) -> State:
        """Return the state after the last event before the first that ``until`` says no to."""
        state = State(pipeline_id=pipeline)
        async for event in self.events(pipeline):
            if not until(event):
                break
            state = evolve(state, event)
        return state

    async def version(
        self, pipeline: PipelineId, version: Version
    ) -> tuple[PipelineSpec, Checkpoint | None] | None:
        """Return an old version's spec, and how far it had got when it was replaced."""
        spec: PipelineSpec | None = None
        async for event in self.events(pipeline):
            match event.body:
                case e.PipelineCreated() as created if version == 1:
                    spec = created.spec
                case e.ConfigUpdated() as updated if updated.version == version:
                    spec = updated.spec
                case e.ConfigUpdated() as updated if updated.version == version + 1 and spec:
                    return spec, updated.replaced
                case _:
                    pass
        return (spec, None) if spec else None

    async def checkpoint(
        self, pipeline: PipelineId, sequence: Sequence, time: datetime | None
    ) -> Checkpoint | None:
        """Return the last checkpoint audited at or before an event or a moment."""

        def is_before(event: Event) -> bool:
            in_time = time is None or event.time <= time
            return in_time and event.sequence <= (sequence or SEQUENCE_MAX)

        return (await self.state(pipeline, is_before)).checkpoint
