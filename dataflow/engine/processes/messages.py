"""What a node and a worker process of its own say to each other: twins of ``worker.proto``.

    node                                process
    Begin(number, settings)   ------>   becomes a worker
                              <------   Ready
    ToWorker, Serve           ------>
                              <------   ToOwner; LetGo when a run holds nothing any more
    Ask, Withdraw             <----->   Replied to each Ask that is not withdrawn
    Retire                    ------>   drops what still runs, and ends

A process tells that it is ``Alive`` every few seconds; one that does not is stuck.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from dataflow.core import messages as m
from dataflow.core.ids import PipelineId, Run
from dataflow.core.spec import PipelineSpec
from dataflow.engine.processes.letters import AboutLetters, LettersAnswer
from dataflow.engine.records import DeadLetter, Given


@dataclass(frozen=True, slots=True)
class Begin:
    """(to the process, first of all) Which one it is, and the settings of its node as JSON."""

    number: int
    settings: str


@dataclass(frozen=True, slots=True)
class Serve:
    """(to the process) Work until a moment of CLOCK_BOOTTIME; past it drop every run.

    It counts as soon as it is heard, before what was said earlier and is not done yet.
    """

    until: float


@dataclass(frozen=True, slots=True)
class Retire:
    """(to the process) Drop what still runs, and end."""


@dataclass(frozen=True, slots=True)
class ToWorker:
    """(to the process) From an owner."""

    message: m.ToWorker


@dataclass(frozen=True, slots=True)
class Ready:
    """(to the node) It can take work."""


@dataclass(frozen=True, slots=True)
class Alive:
    """(to the node, every few seconds) It is not stuck."""


@dataclass(frozen=True, slots=True)
class LetGo:
    """(to the node) A task has ended, and holds nothing any more."""

    pipeline_id: PipelineId
    run: Run
    lane: int = 0


@dataclass(frozen=True, slots=True)
class ToOwner:
    """(to the node) From the worker."""

    message: m.ToOwner


# --- questions and their answers -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Column:
    """A name and a type."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class ParseBatch:
    """(to the process) See ``Workers.parse``; an empty schema is none."""

    batch_id: str
    content_type: str
    payload: bytes
    types: tuple[Column, ...]
    schema: bytes


@dataclass(frozen=True, slots=True)
class ParsedBatch:
    """The answer to ``ParseBatch``."""

    schema: bytes
    records: int
    body: bytes


@dataclass(frozen=True, slots=True)
class PreviewSpec:
    """(to the process) See ``Workers.preview``."""

    spec: PipelineSpec
    records_max: int
    given: Given


@dataclass(frozen=True, slots=True)
class CleanUp:
    """(to the process) See ``Workers.clean``."""

    pipeline_id: PipelineId
    spec: PipelineSpec


@dataclass(frozen=True, slots=True)
class Step:
    """As ``records.PreviewStep``."""

    step: str
    columns: tuple[Column, ...]
    records: tuple[str, ...]
    filtered: int
    rejected: tuple[DeadLetter, ...]
    records_in: int = 0
    records_out: int = 0
    records_produced: int = 0
    records_absorbed: int = 0


@dataclass(frozen=True, slots=True)
class StepsPreviewed:
    """The answer to ``PreviewSpec``."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class FollowLog:
    """(to the node) An ingest log, as soon as it ends beyond an offset."""

    pipeline_id: PipelineId
    start: int
    beyond: int


@dataclass(frozen=True, slots=True)
class LogSegment:
    """A file of an ingest log: how far it holds, and where ``FollowLog.start`` is near."""

    path: str
    first: int
    salt: int
    begin: int
    size: int
    near: int


@dataclass(frozen=True, slots=True)
class LogView:
    """The answer to ``FollowLog``: what is durable, and what of it lies behind its start."""

    end: int
    schema: bytes
    behind_records: int
    behind_bytes: int
    segments: tuple[LogSegment, ...]


@dataclass(frozen=True, slots=True)
class CutLog:
    """(to the node) Forget records of an ingest log."""

    pipeline_id: PipelineId
    below: int


@dataclass(frozen=True, slots=True)
class Done:
    """The answer to what has none."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The answer to what failed."""

    error: bytes
    """See ``wire.errors.error_bytes``."""


Question: TypeAlias = ParseBatch | PreviewSpec | AboutLetters | FollowLog | CutLog | CleanUp
Answer: TypeAlias = ParsedBatch | StepsPreviewed | LettersAnswer | LogView | Done | Refused


@dataclass(frozen=True, slots=True)
class Ask:
    """(either way) A question, numbered by who asks."""

    number: int
    question: Question


@dataclass(frozen=True, slots=True)
class Replied:
    """(either way) The answer to a question."""

    number: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Withdraw:
    """(either way) Nobody waits for that answer any more."""

    number: int


@dataclass(frozen=True, slots=True)
class ToProcess:
    """Whatever a node says."""

    message: Begin | Serve | Retire | ToWorker | Ask | Replied | Withdraw


@dataclass(frozen=True, slots=True)
class FromProcess:
    """Whatever a process says."""

    message: Ready | Alive | LetGo | ToOwner | Ask | Replied | Withdraw
