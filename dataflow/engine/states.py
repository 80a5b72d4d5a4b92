"""What stateful transforms keep between batches: saved with a checkpoint, named by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dataflow.core.ids import PipelineId, Run
from dataflow.engine.objects import Objects


class States:
    """The transforms' states of one pipeline, in the object store."""

    def __init__(self, objects: Objects, pipeline: PipelineId) -> None:
        self._objects = objects
        self._root = f"states/{pipeline}"

    async def save(self, run: Run, number: int, states: Mapping[str, bytes]) -> Mapping[str, str]:
        """Keep every state of a checkpoint; returns their names, by step."""
        names = {step: f"{self._root}/{number}-{run}-{step}" for step in states}
        for step, name in names.items():
            await self._objects.put(name, states[step])
        return names

    async def load(self, name: str) -> bytes:
        """Return a state by its name."""
        return await self._objects.get(name)

    async def forget_all_but(self, names: Sequence[str]) -> None:
        """Drop the states that no decision names any more."""
        kept = set(names)
        stale = [key for key in await self._objects.keys(self._root) if key not in kept]
        await self._objects.delete(stale)
