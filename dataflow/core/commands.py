"""What can be asked of a pipeline, by its users and by the engine that runs it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from dataflow.core.checkpoint import Checkpoint
from dataflow.core.events import Cause, PipelineError
from dataflow.core.ids import CommandId, NodeId, PipelineId, Run, Sequence, Version
from dataflow.core.light import light
from dataflow.core.spec import PipelineSpec, Position


@dataclass(frozen=True, slots=True)
class CreatePipeline:
    """Make a pipeline from a canonical spec."""

    spec: PipelineSpec


@dataclass(frozen=True, slots=True)
class StartPipeline:
    """Let it run, from where it got to."""


@dataclass(frozen=True, slots=True)
class StopPipeline:
    """Let it finish its last checkpoint within ``deadline``, then stop."""

    reason: str = ""
    deadline: timedelta | None = None


@dataclass(frozen=True, slots=True)
class PausePipeline:
    """Let it finish its checkpoint, then wait."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class ResumePipeline:
    """Let a paused one go on."""


@dataclass(frozen=True, slots=True)
class UpdatePipeline:
    """Replace the spec; ``position`` says where to read if the source became another one."""

    spec: PipelineSpec
    position: Position = Position.UNSPECIFIED


@dataclass(frozen=True, slots=True)
class RollbackPipeline:
    """Take an old version's spec again, with its positions if asked.

    ``spec`` and ``checkpoint`` are looked up by the host before the rule is asked.
    """

    version: Version
    with_checkpoint: bool = False
    spec: PipelineSpec | None = None
    checkpoint: Checkpoint | None = None


@dataclass(frozen=True, slots=True)
class ResetPipeline:
    """Make a failed pipeline startable again."""


@dataclass(frozen=True, slots=True)
class ReplayPipeline:
    """Read again from the beginning, or from an audited checkpoint given by sequence or time.

    ``checkpoint`` is looked up by the host before the rule is asked.
    """

    sequence: Sequence = Sequence(0)
    time: datetime | None = None
    checkpoint: Checkpoint | None = None

    @property
    def from_beginning(self) -> bool:
        """Tell whether no checkpoint was named."""
        return not self.sequence and self.time is None


@dataclass(frozen=True, slots=True)
class DeletePipeline:
    """End it for good; its history stays."""


@dataclass(frozen=True, slots=True)
class BeginRun:
    """(engine) Start working on a pipeline that shall run; on one ``node`` alone, if it says so."""

    cause: Cause
    node: NodeId = NodeId("")


@dataclass(frozen=True, slots=True)
class RecordCheckpoint:
    """(engine) Note the latest decision of a run in the audit trail."""

    run: Run
    checkpoint: Checkpoint
    ingested: tuple[int, int] = (0, 0)
    """Offsets of the ingest log acknowledged so far and read so far; zeros where there is none."""


@dataclass(frozen=True, slots=True)
class FinishRun:
    """(engine) The run has ended, completed or as was asked, or its last checkpoint given up."""

    run: Run
    checkpoint: Checkpoint | None
    completed: bool = False
    error: PipelineError | None = None
    """Why the last checkpoint was given up, where it failed."""


@dataclass(frozen=True, slots=True)
class ReportFailure:
    """(engine) The run failed.

    ``progressed`` tells whether a checkpoint was decided in it; ``jitter`` is random in [0, 1).
    """

    run: Run
    error: PipelineError
    checkpoint: Checkpoint | None = None
    progressed: bool = False
    jitter: float = 0.0


UserCommand: TypeAlias = (
    CreatePipeline
    | StartPipeline
    | StopPipeline
    | PausePipeline
    | ResumePipeline
    | UpdatePipeline
    | RollbackPipeline
    | ResetPipeline
    | ReplayPipeline
    | DeletePipeline
)
EngineCommand: TypeAlias = BeginRun | RecordCheckpoint | FinishRun | ReportFailure


@light
@dataclass(frozen=True, slots=True)
class Command:
    """A body, whom it is for, and who asks."""

    pipeline_id: PipelineId
    command_id: CommandId
    actor: str
    body: UserCommand | EngineCommand
    digest: bytes = b""
    """Of the payload as the caller sent it; empty for the engine's own."""
