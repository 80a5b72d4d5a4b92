"""What a node asks a worker process of dead letters: twins of ``worker.proto``, and the answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from dataflow.core.ids import PipelineId
from dataflow.core.spec import PipelineSpec
from dataflow.engine.looking import Looking
from dataflow.engine.records import EVERY, Cause, DeadLetter, Replay, ReplayLetters, Wanted


@dataclass(frozen=True, slots=True)
class ReadLetters:
    """(to the process) See ``Workers.dead_letters``."""

    pipeline_id: PipelineId
    after: str
    limit: int
    wanted: Wanted = EVERY


@dataclass(frozen=True, slots=True)
class ReadCauses:
    """(to the process) See ``Workers.causes``."""

    pipeline_id: PipelineId


@dataclass(frozen=True, slots=True)
class Causes:
    """The answer to ``ReadCauses``."""

    causes: tuple[Cause, ...]


@dataclass(frozen=True, slots=True)
class PurgeLetters:
    """(to the process) See ``Workers.purge``."""

    pipeline_id: PipelineId
    wanted: Wanted


@dataclass(frozen=True, slots=True)
class Purged:
    """The answer to ``PurgeLetters``."""

    letters: int


@dataclass(frozen=True, slots=True)
class AskReplay:
    """(to the process) See ``Workers.replay``."""

    pipeline_id: PipelineId
    spec: PipelineSpec
    asking: ReplayLetters


@dataclass(frozen=True, slots=True)
class ReplayAsked:
    """The answer to ``AskReplay``."""

    replay: Replay


@dataclass(frozen=True, slots=True)
class Letters:
    """The answer to ``ReadLetters``."""

    letters: tuple[DeadLetter, ...]
    following: str


AboutLetters: TypeAlias = ReadLetters | ReadCauses | PurgeLetters | AskReplay
LettersAnswer: TypeAlias = Letters | Causes | Purged | ReplayAsked


async def answer(looking: Looking, question: AboutLetters) -> LettersAnswer:
    """Return what there is to say of letters."""
    pipeline = question.pipeline_id
    match question:
        case ReadLetters():
            about = pipeline, question.after, question.limit, question.wanted
            letters, following = await looking.dead_letters(*about)
            return Letters(tuple(letters), following)
        case ReadCauses():
            return Causes(tuple(await looking.causes(pipeline)))
        case PurgeLetters():
            return Purged(await looking.purge(pipeline, question.wanted))
        case AskReplay():
            return ReplayAsked(await looking.replay(pipeline, question.spec, question.asking))
