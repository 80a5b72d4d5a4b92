"""What programs of a cluster ask each other, as bytes and back: one codec a question.

A twin here is what a message of ``node.proto`` stands for; most are those of the server's backend.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from google.protobuf.message import Message

from dataflow.app.letters import AboutLetters, LetterCauses, LettersPurged, PageOfLetters
from dataflow.core.answers import Answer
from dataflow.core.commands import Command, UserCommand
from dataflow.core.errors import DataFlowError
from dataflow.core.events import Event
from dataflow.core.ids import CommandId, PipelineId, ShardId
from dataflow.core.spec import PipelineSpec
from dataflow.core.state import State
from dataflow.server import backend as b
from dataflow.server.cluster_backend import Load
from dataflow.v1 import event_pb2, node_pb2, worker_pb2
from dataflow.wire.core import to_core, to_message
from dataflow.wire.errors import error_from, error_told

T = TypeVar("T")
Q = TypeVar("Q")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class About:
    """A question about one pipeline; what is unused stays empty."""

    pipeline_id: PipelineId
    patience: timedelta = timedelta()
    after: int = 0
    limit: int = 0
    text: str = ""
    time: datetime | None = None
    by_sequence: bool = False


@dataclass(frozen=True, slots=True)
class Push:
    """A batch of records."""

    pipeline_id: PipelineId
    batch_id: str
    content_type: str
    records: bytes


@dataclass(frozen=True, slots=True)
class ShowPreview:
    """Run the first records through every step."""

    spec: PipelineSpec
    records: int
    given: b.Given


@dataclass(frozen=True, slots=True)
class PageOfEvents:
    """Events of one pipeline, in order."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class PageOfVersions:
    """Versions of one spec, the latest first."""

    versions: tuple[b.SpecVersion, ...]


@dataclass(frozen=True, slots=True)
class PageOfPipelines:
    """Lines of the list, and how many there are in all."""

    pipelines: tuple[b.Summary, ...]
    total: int


@dataclass(frozen=True, slots=True)
class PreviewedStep:
    """What came out of one step: a column's name and type at the same place of two lists."""

    step: str
    names: tuple[str, ...]
    types: tuple[str, ...]
    records: tuple[str, ...]
    filtered: int
    rejected: tuple[b.DeadLetter, ...]
    records_in: int = 0
    records_out: int = 0
    records_produced: int = 0
    records_absorbed: int = 0


@dataclass(frozen=True, slots=True)
class Previewed:
    """Every step of a preview."""

    steps: tuple[PreviewedStep, ...]

    @classmethod
    def of(cls, steps: Sequence[b.PreviewStep]) -> Previewed:
        """Return steps as they travel."""
        return cls(
            tuple(
                PreviewedStep(
                    step=one.step,
                    names=tuple(name for name, _ in one.columns),
                    types=tuple(type_ for _, type_ in one.columns),
                    records=tuple(one.records),
                    filtered=one.filtered,
                    rejected=tuple(one.rejected),
                    records_in=one.records_in,
                    records_out=one.records_out,
                    records_produced=one.records_produced,
                    records_absorbed=one.records_absorbed,
                )
                for one in steps
            )
        )

    def shown(self) -> Sequence[b.PreviewStep]:
        """Return steps as the server shows them."""
        return [
            b.PreviewStep(
                step=one.step,
                columns=list(zip(one.names, one.types, strict=True)),
                records=one.records,
                filtered=one.filtered,
                rejected=one.rejected,
                records_in=one.records_in,
                records_out=one.records_out,
                records_produced=one.records_produced,
                records_absorbed=one.records_absorbed,
            )
            for one in self.steps
        ]


@dataclass(frozen=True, slots=True)
class ShardNumbers:
    """Some shards."""

    shards: tuple[ShardId, ...]


@dataclass(frozen=True, slots=True)
class ShardLoad:
    """What one shard holds."""

    shard: ShardId
    pipelines: int
    running: int


@dataclass(frozen=True, slots=True)
class ShardLoads:
    """What shards of one node hold."""

    loads: tuple[ShardLoad, ...]

    @classmethod
    def of(cls, loads: Mapping[ShardId, Load]) -> ShardLoads:
        """Return loads as they travel."""
        return cls(tuple(ShardLoad(s, load.pipelines, load.running) for s, load in loads.items()))

    def shown(self) -> Mapping[ShardId, Load]:
        """Return loads as the server shows them."""
        return {one.shard: Load(one.pipelines, one.running) for one in self.loads}


@dataclass(frozen=True, slots=True)
class RoutedCommand:
    """A command of a user."""

    pipeline_id: PipelineId
    command_id: CommandId
    actor: str
    body: UserCommand
    digest: bytes


@dataclass(frozen=True, slots=True)
class _Execute:
    commands: tuple[RoutedCommand, ...]


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """How a value travels."""

    write: Callable[[T], bytes]
    read: Callable[[bytes], T]


@dataclass(frozen=True, slots=True)
class Question(Generic[Q, R]):
    """What can be asked: its name on the wire, the question and the reply."""

    name: str
    question: Codec[Q]
    reply: Codec[R]


def _twin(cls: type[T], message: type[Message]) -> Codec[T]:
    return Codec(
        write=lambda value: to_message(value, message).SerializeToString(),
        read=lambda payload: to_core(message.FromString(payload), cls),
    )


def _write_commands(commands: Sequence[Command]) -> bytes:
    routed = tuple(
        RoutedCommand(one.pipeline_id, one.command_id, one.actor, one.body, one.digest)  # type: ignore[arg-type]  # the engine's own commands never travel
        for one in commands
    )
    return to_message(_Execute(routed), node_pb2.Execute).SerializeToString()


def _read_commands(payload: bytes) -> Sequence[Command]:
    routed = to_core(node_pb2.Execute.FromString(payload), _Execute)
    return [
        Command(**{field.name: getattr(one, field.name) for field in fields(one)})
        for one in routed.commands
    ]


def _write_outcomes(outcomes: Sequence[Answer | DataFlowError]) -> bytes:
    executed = node_pb2.Executed()
    for outcome in outcomes:
        told = executed.outcomes.add()
        if isinstance(outcome, DataFlowError):
            told.error_told.CopyFrom(error_told(outcome))
        else:
            told.answer.CopyFrom(to_message(outcome, event_pb2.Answer))
    return executed.SerializeToString()


def _read_outcomes(payload: bytes) -> Sequence[Answer | DataFlowError]:
    executed = node_pb2.Executed.FromString(payload)
    return [
        error_from(told.error_told) if told.HasField("error_told") else to_core(told.answer, Answer)
        for told in executed.outcomes
    ]


ABOUT = _twin(About, node_pb2.About)

EXECUTE = Question(
    "execute",
    Codec(_write_commands, _read_commands),
    Codec(_write_outcomes, _read_outcomes),
)
SETTLED = Question("settled", ABOUT, _twin(State, event_pb2.State))
PIPELINE = Question("pipeline", ABOUT, _twin(b.Pipeline, node_pb2.ShownPipeline))
PIPELINE_AT = Question("pipeline at", ABOUT, _twin(State, event_pb2.State))
EVENTS = Question("events", ABOUT, _twin(PageOfEvents, node_pb2.PageOfEvents))
VERSIONS = Question("versions", ABOUT, _twin(PageOfVersions, node_pb2.PageOfVersions))
_LETTERS = _twin(AboutLetters, node_pb2.AboutLetters)
DEAD_LETTERS = Question("dead letters", _LETTERS, _twin(PageOfLetters, node_pb2.PageOfLetters))
LETTER_CAUSES = Question("letter causes", _LETTERS, _twin(LetterCauses, worker_pb2.Causes))
PURGE_LETTERS = Question("purge letters", _LETTERS, _twin(LettersPurged, worker_pb2.Purged))
REPLAY_LETTERS = Question("replay letters", _LETTERS, _twin(b.Replay, worker_pb2.Replay))
INGEST = Question("ingest", _twin(Push, node_pb2.Push), _twin(b.Ingested, node_pb2.Ingested))
PIPELINES = Question(
    "pipelines",
    _twin(b.Query, node_pb2.ShowList),
    _twin(PageOfPipelines, node_pb2.PageOfPipelines),
)
PREVIEW = Question(
    "preview", _twin(ShowPreview, node_pb2.ShowPreview), _twin(Previewed, node_pb2.Previewed)
)
LOADS = Question(
    "loads", _twin(ShardNumbers, node_pb2.ShardNumbers), _twin(ShardLoads, node_pb2.ShardLoads)
)
WATCH = Question("watch", ABOUT, _twin(b.Change, node_pb2.Changed))
