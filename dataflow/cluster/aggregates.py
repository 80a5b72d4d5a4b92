"""The pipelines of one shard: a few ready to decide, the others as bytes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from dataflow.core.errors import Corrupted
from dataflow.core.ids import PipelineId
from dataflow.core.state import State, Status
from dataflow.v1 import event_pb2 as pb
from dataflow.wire.journalled import state_bytes, state_from
from dataflow.wire.words import word

LIVE_MAX = 256
"""Decoded aggregates a shard keeps; one is about 5 KB, its bytes about 0.4 KB."""


class AtRest(NamedTuple):
    """What can be told of a passive aggregate at little cost."""

    pipeline_id: PipelineId
    status: Status


class Aggregates:
    """Committed states by id. Reading one makes it live; the least recently used rests again."""

    def __init__(self, passive: Mapping[str, bytes]) -> None:
        self._passive = dict(passive)
        self._live: dict[PipelineId, State] = {}
        self._quarantined: dict[PipelineId, str] = {}

    def get(self, pipeline: PipelineId) -> State:
        """Return a pipeline's state; an empty one if there is no such pipeline.

        Raises:
            Corrupted: one of its events could not be read.
        """
        if pipeline in self._quarantined:
            raise Corrupted(self._quarantined[pipeline])
        state = self._live.pop(pipeline, None)
        if state is None:
            resting = self._passive.get(pipeline)
            if resting is None:
                return State(pipeline_id=pipeline)
            state = state_from(resting)
        self._live[pipeline] = state
        self._rest()
        return state

    def put(self, states: Iterable[State]) -> None:
        """Take the states as they are now."""
        for state in states:
            self._live.pop(state.pipeline_id, None)
            self._live[state.pipeline_id] = state
            self._passive.pop(state.pipeline_id, None)
        self._rest()

    def quarantine(self, pipeline: PipelineId, why: str) -> None:
        """Refuse to serve one pipeline; its neighbours go on.

        Its state is forgotten: it is older than what could not be read, and nobody may act on it.
        """
        self._quarantined[pipeline] = why
        self._live.pop(pipeline, None)
        self._passive.pop(pipeline, None)

    @property
    def quarantined(self) -> Collection[PipelineId]:
        """Return the pipelines that are not served."""
        return self._quarantined.keys()

    def encoded(self) -> Mapping[str, bytes]:
        """Return every state as bytes."""
        for pipeline, state in self._live.items():
            if pipeline not in self._passive:
                self._passive[pipeline] = state_bytes(state)
        return self._passive

    def __iter__(self) -> Iterator[AtRest]:
        for pipeline, state in self._live.items():
            yield AtRest(pipeline, state.status)
        for name, resting in self._passive.items():
            if PipelineId(name) not in self._live:
                message = pb.State.FromString(resting)
                status = word(pb.Status.DESCRIPTOR, message.status)
                yield AtRest(PipelineId(name), Status(status))

    def _rest(self) -> None:
        while len(self._live) > LIVE_MAX:
            pipeline = next(iter(self._live))
            state = self._live.pop(pipeline)
            if pipeline not in self._passive:
                self._passive[pipeline] = state_bytes(state)
