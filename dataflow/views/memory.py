"""The views in memory: the twin for tests and simulation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime

from dataflow.core.errors import Unavailable
from dataflow.core.ids import Offset, PipelineId, ShardId, Version
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.state import Status
from dataflow.views import rows
from dataflow.views.contract import Entry, Projected, Query, Summary


class Memory:
    """``Views`` that show at once what is applied, and forget it with the process."""

    def __init__(self) -> None:
        self._latest: dict[PipelineId, Projected] = {}
        self._entries: dict[PipelineId, dict[SequenceNumber, Entry]] = defaultdict(dict)
        self._closed = False

    def apply(self, batch: Sequence[Projected]) -> None:
        """See ``Views.apply``."""
        for projected in batch:
            event = projected.event
            self._entries[event.pipeline_id][event.sequence] = rows.entry(projected)
            known = self._latest.get(event.pipeline_id)
            if known is None or known.event.sequence < event.sequence:
                self._latest[event.pipeline_id] = projected

    async def settled(self, shard: ShardId | None = None) -> None:  # noqa: ARG002 - all at once
        """See ``Views.settled``."""
        self._check_open()

    async def applied_offset(self, shard: ShardId) -> Offset:
        """See ``Views.applied_offset``: nothing outlives the process."""
        del shard
        return Offset(0)

    async def pipelines(self, query: Query) -> tuple[Sequence[Summary], int]:
        """See ``Views.pipelines``."""
        self._check_open()
        found = [self._latest[name] for name in sorted(self._latest)]
        matching = [rows.summary(one) for one in found if _matches(one, query)]
        behind = [line for line in matching if line.pipeline_id > query.after]
        return behind[: query.limit], len(matching)

    async def events(
        self, pipeline: PipelineId, types: Collection[str], after: SequenceNumber, limit: int
    ) -> Sequence[Entry]:
        """See ``Views.events``."""
        found = [e for e in self._history(pipeline, types) if e.sequence > after]
        return found[:limit]

    async def versions(self, pipeline: PipelineId, before: Version, limit: int) -> Sequence[Entry]:
        """See ``Views.versions``."""
        made = [e for e in self._history(pipeline, ()) if e.version]
        return [e for e in reversed(made) if not before or e.version < before][:limit]

    async def latest(
        self, pipeline: PipelineId, types: Collection[str], until: SequenceNumber | datetime
    ) -> Entry | None:
        """See ``Views.latest``."""
        for one in reversed(self._history(pipeline, types)):
            if (one.time if isinstance(until, datetime) else one.sequence) <= until:  # type: ignore[operator]  # alike by the line's first half
                return one
        return None

    async def close(self) -> None:
        """Refuse everything from now on."""
        self._closed = True

    def _history(self, pipeline: PipelineId, types: Collection[str]) -> list[Entry]:
        self._check_open()
        entries = self._entries.get(pipeline, {})
        return [entries[n] for n in sorted(entries) if not types or entries[n].type in types]

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable("the views are closed")


def _matches(projected: Projected, query: Query) -> bool:
    state = projected.state
    if query.status is None:
        if state.status is Status.DELETED:
            return False
    elif state.status is not query.status:
        return False
    name, equals, value = query.label.partition("=")
    if name and (name not in state.spec.labels or (equals and state.spec.labels[name] != value)):
        return False
    return query.text.casefold() in rows.searched(state)
