"""What the server needs from the platform behind it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from dataflow.core.answers import Answer
from dataflow.core.checkpoint import Checkpoint
from dataflow.core.commands import Command
from dataflow.core.errors import DataFlowError
from dataflow.core.events import Event
from dataflow.core.ids import PipelineId, Version
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.messages import Phase
from dataflow.core.spec import PipelineSpec
from dataflow.core.state import State
from dataflow.engine.records import (
    EVERY,
    NO_REPLAY,
    Cause,
    DeadLetter,
    Given,
    GivenRecords,
    Patch,
    PreviewStep,
    Replay,
    ReplayLetters,
    Setting,
    Verdict,
    Wanted,
)
from dataflow.views.contract import Query, Summary

__all__ = [
    "EVENTS_BYTES_MAX",
    "EVERY",
    "NO_REPLAY",
    "Backend",
    "Cause",
    "Change",
    "DeadLetter",
    "Given",
    "GivenRecords",
    "Ingested",
    "Patch",
    "Pipeline",
    "PreviewStep",
    "Query",
    "Replay",
    "ReplayLetters",
    "Running",
    "Setting",
    "SpecVersion",
    "Summary",
    "Verdict",
    "Wanted",
]


EVENTS_BYTES_MAX = 8 << 20
"""Of events read at once. More than a page may have, so one that ends here has a next one."""


@dataclass(frozen=True, slots=True)
class Running:
    """What is going on with a pipeline, beside what was decided."""

    phase: Phase = Phase.IDLE
    detail: str = ""
    records_per_second: float = 0.0
    lag_records: int = -1
    lag_bytes: int = -1


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One pipeline: what was decided, its latest decision, and what is going on."""

    state: State
    decision: Checkpoint | None
    running: Running
    owner: str


@dataclass(frozen=True, slots=True)
class SpecVersion:
    """One version of a pipeline's spec."""

    version: Version
    sequence: SequenceNumber
    time: datetime
    actor: str
    rollback_to: Version
    spec: PipelineSpec


@dataclass(frozen=True, slots=True)
class Ingested:
    """A batch that is durable in the ingest log."""

    records: int
    first_offset: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened to a pipeline (``event``), or its rates changed."""

    pipeline: Pipeline
    event: Event | None
    time: datetime


class Backend(Protocol):
    """Everything the API can ask. All errors are those of ``dataflow.core.errors``."""

    async def execute(self, commands: Sequence[Command]) -> Sequence[Answer | DataFlowError]:
        """Carry out commands, in order for each pipeline; an answer is durable.

        Calls keep their order too: commands are queued before the first await, so that a second
        call made before the first is answered comes after it.
        A stop or pause is answered when it is journalled, with the pipeline still running.
        """
        ...

    async def settled(self, pipeline: PipelineId, patience: timedelta) -> State:
        """Return the state once no stop or pause is under way.

        Raises:
            Waiting: it was still under way after ``patience``.
        """
        ...

    async def pipeline(self, pipeline: PipelineId) -> Pipeline:
        """Return one pipeline; raises ``Rejected`` (UNKNOWN_PIPELINE)."""
        ...

    async def pipeline_at(self, pipeline: PipelineId, at: SequenceNumber | datetime) -> State:
        """Return a pipeline as it was after an event, or at a moment."""
        ...

    async def pipelines(self, query: Query) -> tuple[Sequence[Summary], int]:
        """Return a page in order of ids, and how many there are in all; sees its own writes."""
        ...

    async def events(
        self, pipeline: PipelineId, after: SequenceNumber, limit: int, event_type: str
    ) -> Sequence[Event]:
        """Return a page of a pipeline's events, or fewer if they have ``EVENTS_BYTES_MAX``."""
        ...

    async def versions(
        self, pipeline: PipelineId, before: Version, limit: int
    ) -> Sequence[SpecVersion]:
        """Return the versions of a spec below ``before`` (0: all), the latest first."""
        ...

    async def dead_letters(
        self, pipeline: PipelineId, after: str, limit: int, wanted: Wanted
    ) -> tuple[Sequence[DeadLetter], int, str]:
        """Return a page of dead letters, how many there are, and where the next page begins."""
        ...

    async def letter_causes(self, pipeline: PipelineId) -> Sequence[Cause]:
        """Return why letters were kept, the most frequent first."""
        ...

    async def purge_letters(self, pipeline: PipelineId, wanted: Wanted) -> int:
        """Let letters be gone for good; returns how many."""
        ...

    async def replay_letters(self, pipeline: PipelineId, asking: ReplayLetters) -> Replay:
        """Ask for letters to be replayed, by the run there is or else by the next.

        Raises:
            Rejected: a letter is not there, or the patch does not fit; the field says which.
        """
        ...

    async def ingest(
        self, pipeline: PipelineId, batch_id: str, content_type: str, records: bytes
    ) -> Ingested:
        """Push a batch; durable on return.

        Raises:
            Rejected: its source is not ``push``, it does not run, or a record does not fit.
            Unavailable: the log is full; ``retry_after`` says when to try again.
        """
        ...

    def validate(self, spec: PipelineSpec) -> Verdict:
        """Return everything that is wrong with a spec, or what it will do.

        Called with every create and update, so it looks at nothing outside; without transforms
        it takes microseconds. Problems name paths of the form that ``core.spec.shown`` gives, in
        camelCase.
        """
        ...

    async def preview(
        self, spec: PipelineSpec, records: int, given: Given
    ) -> Sequence[PreviewStep]:
        """Run the first records through every step; opens no sink, moves no position.

        A source for which records are ``given`` is not opened either.
        """
        ...

    def watch(
        self, pipeline: PipelineId | None, after: SequenceNumber | None
    ) -> AsyncGenerator[Change, None]:
        """Yield what happens to one pipeline or to all: events at once, rates each 250 ms.

        Closed when the watcher goes; one that lags must bound what it keeps for it.
        """
        ...

    @property
    def ready(self) -> bool:
        """Whether every shard is served."""
        ...
