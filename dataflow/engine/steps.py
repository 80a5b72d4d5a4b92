"""A plan's steps, made: code loaded, contexts filled in. The first place to import Arrow.

A step that cannot be made raises ``StepFailed``, which says whose error it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from dataflow.connect import Operator, Pinned, Position, Source, Transform, load
from dataflow.core.checkpoint import SplitPosition
from dataflow.core.events import ErrorType
from dataflow.core.ids import PipelineId
from dataflow.engine.failure import blaming
from dataflow.engine.outputs import Output, output
from dataflow.engine.plan import Plan
from dataflow.engine.rejects import Rejects
from dataflow.engine.surroundings import Contexts


@dataclass(frozen=True, slots=True)
class Step:
    """A transform, its name, and what it does with rows it cannot handle."""

    name: str
    transform: Transform | Operator
    rejects: Rejects


@dataclass(frozen=True, slots=True)
class Input:
    """A source, its name, its models, and what it does with records it cannot read."""

    name: str
    source: Source[Any, Any]
    position: type[Position]
    pinned: type[Pinned]
    rejects: Rejects
    poll_interval_s: float

    def resumes(self, positions: Iterable[SplitPosition]) -> bool:
        """Tell whether one of them is the source's: a pipeline may have had another before."""
        return any(one.position and self._is_own(one.position) for one in positions)

    def _is_own(self, position: str) -> bool:
        try:
            self.position.model_validate_json(position)
        except ValidationError:
            return False
        return True


POLL_INTERVAL_S = 1.0
"""Where a spec says nothing: soon for people, rare for disks."""


def make_input(plan: Plan, pipeline: PipelineId, contexts: Contexts) -> Input:
    """Return the source of a plan, not yet open."""
    step = plan.line.source
    context = contexts(pipeline, plan.line.source_name)
    with blaming(ErrorType.SOURCE, plan.line.source_name):
        source = load(plan.source.open)(step, plan.source_options, context)
    policy = plan.policy(plan.source_options)
    interval_s = step.poll_interval_ms / 1000 or POLL_INTERVAL_S
    return Input(
        name=plan.line.source_name,
        source=source,
        position=plan.source.position,
        pinned=plan.source.pinned,
        rejects=Rejects(plan.line.source_name, policy),
        poll_interval_s=interval_s,
    )


def make_steps(plan: Plan, pipeline: PipelineId, contexts: Contexts) -> Sequence[Step]:
    """Return the transforms of a plan, in order."""
    made = []
    for step, spec, options in plan.transforms:
        with blaming(ErrorType.TRANSFORM, step.id):
            transform = load(spec.open)(step, options, contexts(pipeline, step.id))
        made.append(Step(step.id, transform, Rejects(step.id, plan.policy(options))))
    return made


def make_output(plan: Plan, pipeline: PipelineId, contexts: Contexts) -> Output:
    """Return the sink of a plan, not yet open."""
    name = plan.line.sink_name
    context = contexts(pipeline, name)
    with blaming(ErrorType.SINK, name):
        sink = load(plan.sink.open)(plan.line.sink, plan.sink_options, context)
    return output(sink, name, plan.sink.committable, context.probe)
