"""Rows for people to look at: previews and dead letters, where Arrow may be loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from importlib import import_module

from dataflow.connect.spec import load
from dataflow.core.errors import DataFlowError
from dataflow.core.graph import graph
from dataflow.core.ids import PipelineId
from dataflow.core.spec import PipelineSpec
from dataflow.engine.dead_letters import DeadLetters, letters_root
from dataflow.engine.failure import hidden_in
from dataflow.engine.plan import plan
from dataflow.engine.records import (
    Cause,
    DeadLetter,
    Given,
    PreviewStep,
    Replay,
    ReplayLetters,
    Wanted,
)
from dataflow.engine.replays import Replays
from dataflow.engine.states import states_root
from dataflow.engine.worker import Surroundings


class Looking:
    """Answers for one process."""

    def __init__(self, around: Surroundings) -> None:
        self._around = around

    async def preview(
        self, spec: PipelineSpec, records_max: int, given: Given
    ) -> Sequence[PreviewStep]:
        """Return what each step makes of the first records; see ``preview.preview``."""
        around = self._around
        planned = plan(around.registry, spec)
        module = await asyncio.to_thread(import_module, "dataflow.engine.preview")
        try:
            steps: Sequence[PreviewStep] = await module.preview(
                planned, around.contexts, around.clock, records_max, given=given
            )
        except DataFlowError as error:
            raise hidden_in(error, around.hide) from None
        return steps

    async def clean(self, pipeline: PipelineId, spec: PipelineSpec) -> None:
        """Remove what a deleted pipeline keeps, and what its sources have made upstream."""
        around = self._around
        for root in (letters_root(pipeline), states_root(pipeline)):
            await around.objects.delete(await around.objects.keys(root))
        for source in plan(around.registry, spec).sources:
            if not source.spec.clean:
                continue
            clean = await asyncio.to_thread(load, source.spec.clean)
            context = around.contexts(pipeline, source.name)
            try:
                await clean(source.step, source.options, context)
            except DataFlowError as error:
                raise hidden_in(error, around.hide) from None

    async def dead_letters(
        self, pipeline: PipelineId, after: str, limit: int, wanted: Wanted
    ) -> tuple[Sequence[DeadLetter], str]:
        """Return a page of dead letters; see ``DeadLetters.page``."""
        return await self._letters(pipeline).page(after, limit, wanted)

    async def causes(self, pipeline: PipelineId) -> Sequence[Cause]:
        """Return why letters were kept; see ``mending.causes``."""
        module = await asyncio.to_thread(import_module, "dataflow.engine.mending")
        found: Sequence[Cause] = await module.causes(self._letters(pipeline))
        return found

    async def purge(self, pipeline: PipelineId, wanted: Wanted) -> int:
        """Let letters be gone for good; see ``mending.purge``."""
        module = await asyncio.to_thread(import_module, "dataflow.engine.mending")
        gone: int = await module.purge(self._letters(pipeline), wanted)
        return gone

    async def replay(
        self, pipeline: PipelineId, spec: PipelineSpec, asking: ReplayLetters
    ) -> Replay:
        """Ask for letters to be replayed; see ``mending.replay``."""
        module = await asyncio.to_thread(import_module, "dataflow.engine.mending")
        replays = Replays(self._around.objects, pipeline)
        asked: Replay = await module.replay(self._letters(pipeline), replays, asking, graph(spec))
        return asked

    def _letters(self, pipeline: PipelineId) -> DeadLetters:
        return DeadLetters(self._around.objects, pipeline)
