"""The middle stage: a batch through every transform, in a thread."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from dataflow.connect import Operator, Via
from dataflow.connect.gathering import size_of
from dataflow.connect.transform import MAIN
from dataflow.core.clock import Clock
from dataflow.core.errors import Code, Rejected
from dataflow.core.events import ErrorType
from dataflow.core.ids import Run
from dataflow.engine.failure import blaming
from dataflow.engine.items import Rows
from dataflow.engine.states import States
from dataflow.engine.steps import Step


class Chain:
    """Transforms in order; calls never overlap."""

    def __init__(self, steps: Sequence[Step], clock: Clock) -> None:
        self._steps = steps
        self._clock = clock
        self.at = ""
        """The step that is working, or was the last to; whoever waits in vain blames it."""

    @property
    def is_empty(self) -> bool:
        """Tell whether rows come out as they go in."""
        return not self._steps

    def apply(self, rows: Rows) -> None:
        """Replace a batch by what comes out of the last step, with every row accounted for."""
        began_s = self._clock.steady()
        for step in self._steps:
            self.at = step.name
            with blaming(ErrorType.TRANSFORM, step.name):
                self._apply(step, rows)
        rows.size = size_of(rows.batch)
        rows.processing_s += self._clock.steady() - began_s

    def _apply(self, step: Step, rows: Rows) -> None:
        taken = rows.batch.num_rows
        if isinstance(step.transform, Operator):
            output = step.transform.apply(rows.batch, Via("", rows.split))
        else:
            output = step.transform.apply(rows.batch)
        main = output.batches.get(MAIN)
        rows.batch = main if main is not None else rows.batch.slice(0, 0)
        rows.filtered += output.filtered
        rows.produced += output.produced
        rows.absorbed += output.absorbed
        refused = output.rejected.num_rows if output.rejected is not None else 0
        if output.rejected is not None:
            step.rejects.unhandled(rows, output.rejected, self._clock.now())
        left = rows.batch.num_rows + output.filtered + output.absorbed + refused
        if taken + output.produced != left:
            raise Rejected(
                f"{taken} rows went in, {output.produced} were produced, but {left} came out",
                code=Code.INTERNAL,
            )

    async def save(self, run: Run, number: int, states: States) -> Mapping[str, str]:
        """Save what the transforms keep; returns where, by step."""
        kept: dict[str, bytes] = {}
        for step in self._steps:
            if not isinstance(step.transform, Operator):
                continue
            with blaming(ErrorType.TRANSFORM, step.name):
                state = await asyncio.to_thread(step.transform.changes, whole=True)
            if state is not None:
                kept[step.name] = state
        return await states.save(run, number, kept)

    async def restore(self, saved: Mapping[str, str], states: States) -> None:
        """Give every transform what was saved for it."""
        for step in self._steps:
            with blaming(ErrorType.TRANSFORM, step.name):
                name = saved.get(step.name)
                if name and isinstance(step.transform, Operator):
                    await asyncio.to_thread(step.transform.restore, [await states.load(name)])
