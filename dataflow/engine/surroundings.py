"""What a task is handed by the worker that runs it; importing this loads no Arrow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from dataflow.connect import Context
from dataflow.core import messages as m
from dataflow.core.clock import Clock
from dataflow.core.ids import PipelineId
from dataflow.core.lanes import ALONE, Lane
from dataflow.engine.dead_letters import DeadLetters
from dataflow.engine.replays import Replays
from dataflow.engine.states import States

Contexts: TypeAlias = Callable[[PipelineId, str], Context]
"""Returns the context of one step of one pipeline."""


@dataclass(frozen=True, slots=True)
class TaskSurroundings:
    """What a task needs of its worker."""

    contexts: Contexts
    dead_letters: DeadLetters
    replays: Replays
    states: States
    send: Callable[[m.ToOwner], None]
    clock: Clock
    probe: Callable[[str], None]
    lane: Lane = ALONE
