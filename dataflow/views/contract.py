"""What the views promise: the registry of pipelines, and an index of their events.

Views follow the journal. They may be behind it, never ahead; ``settled`` waits until they have
caught up. An event's payload is not copied: its place leads to it through ``Journal.history``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from dataflow.core.events import ConfigUpdated, Event, PipelineCreated
from dataflow.core.ids import Offset, PipelineId, ShardId, Version
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.light import light
from dataflow.core.state import State, Status

VERSION_TYPES = frozenset({PipelineCreated.__name__, ConfigUpdated.__name__})
"""The events that make a version of a spec."""


@light
@dataclass(frozen=True, slots=True)
class Projected:
    """A committed event, where it stands, and its pipeline's state after it."""

    shard: ShardId
    offset: Offset
    event: Event
    state: State


@dataclass(frozen=True, slots=True)
class Query:
    """Which pipelines to list; empty fields choose all but the deleted."""

    status: Status | None = None
    label: str = ""
    """``name=value``, or ``name`` for whatever value."""
    text: str = ""
    """Part of an id, a name or a description, in whatever case."""
    after: PipelineId = PipelineId("")
    limit: int = 50


@light
@dataclass(frozen=True, slots=True)
class Summary:
    """A line of the list of pipelines."""

    pipeline_id: PipelineId
    name: str
    status: Status
    labels: Mapping[str, str]
    source_type: str
    """Of several, in the order of their names, with commas between."""
    sink_type: str
    version: Version
    created_at: datetime
    updated_at: datetime


@light
@dataclass(frozen=True, slots=True)
class Entry:
    """What the index knows of one event."""

    pipeline_id: PipelineId
    sequence: SequenceNumber
    type: str
    time: datetime
    version: Version
    """The one that the event made; 0 where it made none."""
    shard: ShardId
    offset: Offset


class Views(Protocol):
    """The registry and the index. One owner a shard applies its events, in order.

    All queries raise ``Unavailable`` when the store cannot be read, and so does ``settled`` when
    it could not be written; nothing is lost by that, the journal has everything.
    """

    def apply(self, batch: Sequence[Projected]) -> None:
        """Take note of committed events; returns at once. The same event again changes nothing."""
        ...

    async def settled(self, shard: ShardId | None = None) -> None:
        """Return when everything applied before this call shows in every query.

        Args:
            shard: whose events are waited for; those of all if None.
        """
        ...

    async def applied_offset(self, shard: ShardId) -> Offset:
        """Return up to where a shard's log shows in the views, for good.

        A new owner of the shard asks, and applies what is behind it before anything else.
        """
        ...

    async def pipelines(self, query: Query) -> tuple[Sequence[Summary], int]:
        """Return a page behind ``query.after`` in order of ids, and how many match in all."""
        ...

    async def events(
        self, pipeline: PipelineId, types: Collection[str], after: SequenceNumber, limit: int
    ) -> Sequence[Entry]:
        """Return a pipeline's events of these types (none: all) behind ``after``, in order."""
        ...

    async def versions(self, pipeline: PipelineId, before: Version, limit: int) -> Sequence[Entry]:
        """Return the events that made the versions below ``before`` (0: all), the latest first."""
        ...

    async def latest(
        self, pipeline: PipelineId, types: Collection[str], until: SequenceNumber | datetime
    ) -> Entry | None:
        """Return the last event of these types at or before an event, or a moment."""
        ...

    async def close(self) -> None:
        """Write down what was applied, then release everything."""
        ...
