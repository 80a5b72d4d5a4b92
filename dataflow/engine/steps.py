"""A plan's steps, made: code loaded, contexts filled in. The first place to import Arrow.

A step that cannot be made raises ``StepFailed``, which says whose error it was.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeAlias

import pyarrow as pa
import xxhash
from pydantic import ValidationError

from dataflow.connect import (
    Context,
    Operator,
    Pinned,
    Position,
    Rejected,
    Source,
    SourceSpec,
    Split,
    Transform,
    TransformSpec,
    load,
)
from dataflow.connect.operator import STATE_BYTES_MAX
from dataflow.connect.transform import ORDINAL
from dataflow.core.checkpoint import DEAD_LETTERS, SplitPosition
from dataflow.core.errors import Code
from dataflow.core.events import ErrorType
from dataflow.core.ids import PipelineId
from dataflow.core.lanes import Lane
from dataflow.core.schedule import Schedule
from dataflow.core.spec import Source as SourceStep
from dataflow.core.spec import Transform as TransformStep
from dataflow.engine.failure import blaming
from dataflow.engine.limits import TimeLimit
from dataflow.engine.outputs import output
from dataflow.engine.plan import Plan, Planned
from dataflow.engine.rejects import Rejects
from dataflow.engine.splits import SplitNames
from dataflow.engine.surroundings import Contexts, TaskSurroundings
from dataflow.engine.writer import Sinking

PlannedSource: TypeAlias = "Planned[SourceStep, SourceSpec[Any]]"
PlannedTransform: TypeAlias = "Planned[TransformStep, TransformSpec[Any]]"


class Step:
    """A transform, its name, what it reads, and what it does with rows it cannot handle."""

    def __init__(
        self, planned: PlannedTransform, transform: Transform | Operator, rejects: Rejects
    ) -> None:
        self.name = planned.name
        self.feeds = planned.feeds
        self.outputs = planned.spec.outputs(planned.options)
        self.transform = transform
        self.rejects = rejects
        self.keeps_splits = not isinstance(transform, Operator) or transform.keeps_splits
        self.digest = _digest(planned)
        self.made = 0
        """Rows that it has made anew; the number of the next one."""
        self._state_bytes_max = getattr(planned.options, "state_bytes_max", STATE_BYTES_MAX)

    def numbered(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return rows of the step with ordinals, its own where it has made them anew."""
        if ORDINAL in batch.schema.names:
            return batch
        first, self.made = self.made, self.made + batch.num_rows
        numbers = pa.arange(first, self.made)  # type: ignore[attr-defined]  # newer than the stubs
        return batch.append_column(ORDINAL, numbers)

    def check_state(self) -> None:
        """Refuse a state that has grown beyond its limit.

        Raises:
            Rejected: nothing is lost; the step goes on from the last decision with a higher limit.
        """
        if not isinstance(self.transform, Operator):
            return
        if (size := self.transform.state_bytes) > self._state_bytes_max:
            raise Rejected(
                f"its state takes {size} bytes of memory; raise stateBytesMax"
                f" ({self._state_bytes_max}), or let the step forget earlier",
                code=Code.TOO_LARGE,
                field="options.stateBytesMax",
            )


def _digest(planned: PlannedTransform) -> str:
    """Return what tells whether a state was made by the same step: its kind, options, inputs."""
    limits = {"state_bytes_max", "on_error"}
    options = planned.options.model_dump_json(exclude=limits)
    made_of = (planned.spec.name, options, *map(str, planned.feeds))
    return xxhash.xxh3_64_hexdigest("\n".join(made_of).encode())


@dataclass(frozen=True, slots=True)
class Input:
    """A source, its name, its models, and what it does with records it cannot read."""

    name: str
    splits: SplitNames
    source: Source[Any, Any]
    position: type[Position]
    pinned: type[Pinned]
    rejects: Rejects
    poll_interval_s: float
    schedule: Schedule | None = None

    async def listed(self) -> Sequence[Split]:
        """Return the splits that there are for this task now."""
        return [split for split in await self.source.splits() if self.source.is_mine(split)]

    def of_lane(self, lane: Lane) -> None:
        """Have the source read what is the lane's of its splits."""
        if lane.of > 1:
            self.source.reads = lambda split: lane.reads(self.splits.named(split))

    def resumes(self, positions: Mapping[str, SplitPosition]) -> bool:
        """Tell whether one of the positions is its own: it may have been another source before."""
        own = (p.position for name, p in positions.items() if self.splits.own(name) is not None)
        return any(position and self._is_own(position) for position in own)

    def _is_own(self, position: str) -> bool:
        try:
            self.position.model_validate_json(position)
        except ValidationError:
            return False
        return True


POLL_INTERVAL_S = 1.0
"""Where a spec says nothing: soon for people, rare for disks."""


def make_inputs(plan: Plan, pipeline: PipelineId, around: TaskSurroundings) -> Sequence[Input]:
    """Return the sources of a plan, not yet open."""
    made = []
    for planned in plan.sources:
        source = make_input(plan, planned, around.contexts(pipeline, planned.name))
        source.of_lane(around.lane)
        made.append(source)
    return made


def make_input(plan: Plan, planned: PlannedSource, context: Context) -> Input:
    """Return one source of a plan, not yet open."""
    spec, step = planned.spec, planned.step
    others = [DEAD_LETTERS, *(name for name in plan.graph.sources if name != planned.name)]
    with blaming(ErrorType.SOURCE, planned.name):
        source = load(spec.open)(step, planned.options, context)
    return Input(
        name=planned.name,
        splits=SplitNames(planned.name, others),
        source=source,
        position=spec.position,
        pinned=spec.pinned,
        rejects=Rejects(planned.name, plan.policy(planned.options)),
        poll_interval_s=step.poll_interval_ms / 1000 or POLL_INTERVAL_S,
        schedule=step.schedule,
    )


def make_steps(plan: Plan, pipeline: PipelineId, contexts: Contexts) -> Sequence[Step]:
    """Return the transforms of a plan, each behind what it reads."""
    made = []
    for planned in plan.transforms:
        with blaming(ErrorType.TRANSFORM, planned.name):
            context = contexts(pipeline, planned.name)
            transform = load(planned.spec.open)(planned.step, planned.options, context)
        rejects = Rejects(planned.name, plan.policy(planned.options))
        made.append(Step(planned, transform, rejects))
    return made


def make_sinkings(
    plan: Plan, pipeline: PipelineId, around: TaskSurroundings, limit: timedelta
) -> Sequence[Sinking]:
    """Return the sinks of a plan, not yet open; a batch may take as long as ``limit`` in one."""
    made = []
    for planned in plan.sinks:
        name, spec = planned.name, planned.spec
        context = around.contexts(pipeline, name)
        with blaming(ErrorType.SINK, name):
            sink = load(spec.open)(planned.step, planned.options, context)
            made.append(
                Sinking(
                    name=name,
                    output=output(sink, name, spec.committable, context.probe),
                    rejects=Rejects(name, plan.policy(planned.options)),
                    batch_rows_max=planned.step.batch_size,
                    limit=TimeLimit(limit),
                    clock=around.clock,
                    probe=around.probe,
                )
            )
    return made
