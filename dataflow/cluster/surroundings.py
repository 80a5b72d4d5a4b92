"""What a run is given by its node, and what can be said to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeAlias

from dataflow.cluster.register import Registers
from dataflow.core import messages as m
from dataflow.core.clock import Clock
from dataflow.core.commands import EngineCommand
from dataflow.core.ids import PipelineId
from dataflow.core.state import State


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a run needs of its node."""

    registers: Registers
    report: Callable[[PipelineId, EngineCommand], Awaitable[None]]
    """Hands a report to the aggregate; returns when it is journalled, however long it takes."""
    send: Callable[[m.ToWorker], None]
    clock: Clock
    jitter: Callable[[], float]
    ingested: Callable[[PipelineId], Awaitable[int]]
    """The end of a pipeline's ingest log; 0 where it has none."""
    probe: Callable[[str], None]
    phase: Callable[[PipelineId], float] = lambda _: 0.0
    """When in its interval a pipeline closes checkpoints; see ``core.protocol.next_tick``."""


@dataclass(frozen=True, slots=True)
class DrainAsked:
    """(from the aggregate) A stop or pause was journalled."""

    state: State


@dataclass(frozen=True, slots=True)
class RestAsked:
    """(from the node) It shuts down: close a last checkpoint, but let the status be."""


Inbox: TypeAlias = m.ToOwner | DrainAsked | RestAsked
