"""What a command is answered, the first time and every time it is retried."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from dataflow.core.ids import PipelineId, Sequence, Version
from dataflow.core.light import light
from dataflow.core.state import Status


@light
@dataclass(frozen=True, slots=True)
class Answer:
    """An accepted command: durable, and answered the same however often it is repeated."""

    pipeline_id: PipelineId
    status: Status
    message: str
    time: datetime
    changed: bool
    version: Version
    sequence: Sequence
