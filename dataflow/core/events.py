"""What has happened to a pipeline: the bodies of its events, and the envelope around them.

Events are the only thing the journal keeps, for ever: a field is only ever added, and a change of
meaning is a new schema version with an upcaster in ``dataflow.wire``. No event holds a record.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TypeAlias

from dataflow.core.checkpoint import Checkpoint, LineageStart
from dataflow.core.errors import DataFlowError, Unavailable
from dataflow.core.ids import CommandId, Lineage, NodeId, Offset, PipelineId, Sequence, Version
from dataflow.core.light import light
from dataflow.core.spec import PipelineSpec

SCHEMA_VERSION = 1
"""Of the bodies below."""


class Cause(StrEnum):
    """Why a run began."""

    START = "start"
    RESUME = "resume"
    RETRY = "retry"
    RESTART = "restart"
    FAILOVER = "failover"
    MOVE = "move"


class ErrorType(StrEnum):
    """Which part of a pipeline failed."""

    SOURCE = "source"
    TRANSFORM = "transform"
    SINK = "sink"
    SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class PipelineError:
    """A failure of a run, in full: for people, never holding a record or a secret."""

    error_type: ErrorType = ErrorType.SYSTEM
    code: str = ""
    message: str = ""
    stack_trace: str = ""
    retryable: bool = False
    step: str = ""

    @classmethod
    def of_system(cls, error: DataFlowError) -> PipelineError:
        """Return the failure of a run that no step is to blame for."""
        return cls(
            error_type=ErrorType.SYSTEM,
            code=error.code,
            message=str(error),
            retryable=isinstance(error, Unavailable),
        )


@dataclass(frozen=True, slots=True)
class PipelineCreated:
    """The pipeline exists; its spec is version 1."""

    spec: PipelineSpec = PipelineSpec()


@dataclass(frozen=True, slots=True)
class PipelineStarted:
    """It shall run."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A run began; the offset of this event in the shard's log is the run."""

    lineage: Lineage = Lineage(0)
    cause: Cause = Cause.START
    attempt: int = 0
    node: NodeId = NodeId("")
    """The only one that may work on it; empty for any."""


@dataclass(frozen=True, slots=True)
class StopRequested:
    """It shall stop after its last decision, or when the deadline has passed."""

    reason: str = ""
    deadline: timedelta | None = None


@dataclass(frozen=True, slots=True)
class PipelineStopped:
    """It has stopped; ``completed`` is the reason of a bounded source that was exhausted.

    ``error`` is why its last checkpoint was given up, where it was.
    """

    reason: str = ""
    checkpoint: Checkpoint | None = None
    error: PipelineError | None = None


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """It shall pause after its next decision."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class PipelinePaused:
    """It is paused."""

    reason: str = ""
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class PipelineResumed:
    """It shall go on from where it paused."""


@light
@dataclass(frozen=True, slots=True)
class ConfigUpdated:
    """A new version of the spec holds; ``rollback_to`` names the old one it repeats."""

    version: Version = Version(0)
    spec: PipelineSpec = PipelineSpec()
    rollback_to: Version = Version(0)
    lineage: Lineage = Lineage(0)
    start: LineageStart | None = None
    """How a new lineage begins; None where the lineage goes on."""
    replaced: Checkpoint | None = None
    """Where the version before it had got to, for a rollback that takes its positions along."""


@dataclass(frozen=True, slots=True)
class CheckpointUpdated:
    """An audit copy of the latest decision: of each seed, once a minute, and at a shutdown.

    Stopping, pausing and failing carry theirs in their own events.
    """

    checkpoint: Checkpoint = Checkpoint()


@dataclass(frozen=True, slots=True)
class BatchIngested:
    """Records pushed since the audit before, acknowledged and in the ingest log."""

    first: int = 0
    last: int = 0
    records: int = 0


@dataclass(frozen=True, slots=True)
class BatchProcessed:
    """Pushed records decided since the audit before."""

    first: int = 0
    last: int = 0
    records: int = 0


@dataclass(frozen=True, slots=True)
class BatchTimedOut:
    """A batch took longer in one step than the pipeline allows."""

    step: str = ""
    limit: timedelta = timedelta()


@dataclass(frozen=True, slots=True)
class RetryScheduled:
    """The run failed and another is due at ``retry_at``."""

    attempt: int = 0
    retry_at: datetime | None = None
    error: PipelineError = PipelineError()


@dataclass(frozen=True, slots=True)
class PipelineFailed:
    """It has failed for good; reset it to go on."""

    error: PipelineError = PipelineError()
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class PipelineReset:
    """A failed pipeline is configured again; positions are kept."""


@dataclass(frozen=True, slots=True)
class PositionReset:
    """Reading begins somewhere else: a new lineage."""

    lineage: Lineage = Lineage(0)
    start: LineageStart = LineageStart()


@dataclass(frozen=True, slots=True)
class PipelineDeleted:
    """It is gone, its id used up; its events stay."""


@dataclass(frozen=True, slots=True)
class CommandAccepted:
    """A command asked for what already held; noted so that its retry gets the same answer."""

    command: str = ""


Body: TypeAlias = (
    PipelineCreated
    | PipelineStarted
    | RunStarted
    | StopRequested
    | PipelineStopped
    | PauseRequested
    | PipelinePaused
    | PipelineResumed
    | ConfigUpdated
    | CheckpointUpdated
    | BatchIngested
    | BatchProcessed
    | BatchTimedOut
    | RetryScheduled
    | PipelineFailed
    | PipelineReset
    | PositionReset
    | PipelineDeleted
    | CommandAccepted
)


@light
@dataclass(frozen=True, slots=True)
class Event:
    """A body and everything that is known about it."""

    pipeline_id: PipelineId
    offset: Offset
    sequence: Sequence
    time: datetime
    actor: str
    command_id: CommandId
    body: Body
    command_digest: bytes = b""
    """Of the command's payload, on the last event of a caller's command; else empty."""
    schema_version: int = SCHEMA_VERSION
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def type(self) -> str:
        """The name of the body, as views and subscribers know it."""
        return type(self.body).__name__
