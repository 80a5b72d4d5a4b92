"""A pipeline as its events have made it; ``lifecycle`` says how one follows from another."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from dataflow.core import events as e
from dataflow.core.checkpoint import Checkpoint, LineageStart
from dataflow.core.ids import Lineage, NodeId, PipelineId, Run, Version
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.light import light
from dataflow.core.spec import PipelineSpec


class Status(StrEnum):
    """What has been decided about a pipeline."""

    EMPTY = "empty"
    CONFIGURED = "configured"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPED = "stopped"
    FAILED = "failed"
    DELETED = "deleted"


class Drain(StrEnum):
    """What a running pipeline is finishing its last checkpoint for."""

    NOTHING = "nothing"
    STOP = "stop"
    PAUSE = "pause"


@light
@dataclass(frozen=True, slots=True)
class State:
    """A pipeline as its events have made it."""

    pipeline_id: PipelineId = PipelineId("")
    status: Status = Status.EMPTY
    sequence: SequenceNumber = SequenceNumber(0)
    version: Version = Version(0)
    spec: PipelineSpec = field(default_factory=PipelineSpec)
    created_at: datetime | None = None
    updated_at: datetime | None = None
    lineage: Lineage = Lineage(0)
    start: LineageStart = LineageStart()
    run: Run = Run(0)
    active: bool = False
    """A run has begun and not yet ended; nothing works on the pipeline otherwise."""
    draining: Drain = Drain.NOTHING
    reason: str = ""
    """Of the stop or pause that is asked for or took place."""
    deadline_at: datetime | None = None
    attempt: int = 0
    retry_at: datetime | None = None
    error: e.PipelineError | None = None
    checkpoint: Checkpoint | None = None
    """The latest audited decision; the register may be ahead of it."""
    ingested: int = 0
    """End of the ingest log when it was last audited."""
    processed: int = 0
    """How far the ingest log was read when last audited."""
    node: NodeId = NodeId("")
    """The only one that may work on it, since a run found what that node alone has."""
