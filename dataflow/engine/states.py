"""What steps with a memory keep: saved with a checkpoint, named by it.

A state is a chain of objects, ``states/<pipeline>/<number>-<run>-<step>``: a whole one, then what
changed with each checkpoint. The latest names all before it, so a checkpoint names that alone.
Where the changes have outgrown the whole, the next one is whole again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pydantic import TypeAdapter

from dataflow.connect import Corrupted, Operator, Rejected, Unavailable
from dataflow.core.errors import Code
from dataflow.core.events import ErrorType
from dataflow.core.ids import PipelineId, Run
from dataflow.engine.failure import blaming
from dataflow.engine.objects import Objects

if TYPE_CHECKING:
    from dataflow.connect import Transform

PARTS_MAX = 64
"""Objects of one chain: each is read when a run begins, and in a bucket takes some milliseconds."""

CHANGES_MIN_BYTES = 1 << 20
"""Below it a chain of changes is never worth a whole."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of an object: what it is a part of.

    ``before`` are the objects of the chain up to this one; ``made`` as ``Step.made``.
    """

    digest: str
    made: int
    before: tuple[str, ...] = ()
    sizes: tuple[int, ...] = ()
    """Bytes of the objects of the chain, this one last."""


_HEADER = TypeAdapter(Header)


@dataclass(frozen=True, slots=True)
class Kept:
    """The state of one step as last saved."""

    name: str
    header: Header

    @property
    def names(self) -> Sequence[str]:
        """Return the objects of the chain, in order."""
        return (*self.header.before, self.name)


class Remembering(Protocol):
    """A step, as its state has to do with it; see ``Step``."""

    name: str
    digest: str
    made: int

    @property
    def transform(self) -> Transform | Operator:
        """Return what may have a memory."""
        ...


class States:
    """The states of one pipeline's steps, in the object store."""

    def __init__(self, objects: Objects, pipeline: PipelineId) -> None:
        self._objects = objects
        self._root = states_root(pipeline)
        self._kept: dict[str, Kept] = {}
        self._stale: list[str] = []

    async def save(self, run: Run, number: int, steps: Sequence[Remembering]) -> Mapping[str, str]:
        """Save what changed since the last call; returns the name of each step's state."""
        for step in steps:
            with blaming(ErrorType.TRANSFORM, step.name):
                await self._save(run, number, step)
        return {name: kept.name for name, kept in self._kept.items()}

    async def _save(self, run: Run, number: int, step: Remembering) -> None:
        kept = self._kept.get(step.name)
        whole = kept is None or _is_overgrown(kept.header)
        payload = None
        if isinstance(step.transform, Operator):
            payload = await asyncio.to_thread(step.transform.changes, whole=whole)
        made_before = kept.header.made if kept is not None else 0
        if payload is None and made_before == step.made:
            return
        anew = kept is None or (whole and payload is not None)
        parts = () if kept is None or anew else kept.names
        sizes = () if kept is None or anew else kept.header.sizes
        payload = payload or b""
        header = Header(step.digest, step.made, tuple(parts), (*sizes, len(payload)))
        name = f"{self._root}/{number}-{run}-{step.name}"
        await self._objects.put(name, _HEADER.dump_json(header) + b"\n" + payload)
        if kept is not None and anew:
            self._stale += kept.names
        self._kept[step.name] = Kept(name, header)

    async def restore(self, saved: Mapping[str, str], steps: Sequence[Remembering]) -> None:
        """Give every step what was saved for it.

        Raises:
            StepFailed: because of ``Rejected``, where the state was made by another step or is
                no longer kept.
        """
        for step in steps:
            if name := saved.get(step.name):
                with blaming(ErrorType.TRANSFORM, step.name):
                    await self._restore(step, name)

    async def _restore(self, step: Remembering, name: str) -> None:
        header, payload = await self._load(name)
        if header.digest != step.digest:
            raise Rejected(
                "its options or inputs have changed, and what it keeps was made by the old ones;"
                ' replay from the beginning, or update with position "beginning"',
                code=Code.STATE_CHANGED,
            )
        before = [(await self._load(part))[1] for part in header.before]
        self._kept[step.name] = Kept(name, header)
        step.made = header.made
        parts = [part for part in (*before, payload) if part]
        if parts and isinstance(step.transform, Operator):
            await asyncio.to_thread(step.transform.restore, parts)

    async def _load(self, name: str) -> tuple[Header, bytes]:
        try:
            stored = await self._objects.get(name)
        except Unavailable as error:
            if name in await self._objects.keys(self._root):
                raise
            raise Rejected(
                "what it kept at this checkpoint is no longer there; replay from the beginning",
                code=Code.STATE_CHANGED,
            ) from error
        line, _, payload = stored.partition(b"\n")
        try:
            return _HEADER.validate_json(line), payload
        except ValueError as error:
            raise Corrupted(f"the state {name!r} cannot be read: {error}") from error

    async def sweep(self, run: Run) -> None:
        """Drop what older runs saved and no decision names; AFTER ``restore``."""
        kept = {name for state in self._kept.values() for name in state.names}
        stale = [
            key
            for key in await self._objects.keys(self._root)
            if key not in kept and int(key.rpartition("/")[2].split("-")[1]) < run
        ]
        await self._objects.delete(stale)

    async def decided(self) -> None:
        """Drop what the last decision has replaced."""
        stale, self._stale = self._stale, []
        if stale:
            await self._objects.delete(stale)


def states_root(pipeline: PipelineId) -> str:
    """Return what all keys of a pipeline's states begin with."""
    return f"states/{pipeline}"


def _is_overgrown(header: Header) -> bool:
    """Tell whether a chain is due to be replaced by a whole."""
    whole, *changes = header.sizes
    return len(header.sizes) >= PARTS_MAX or sum(changes) > max(whole, CHANGES_MIN_BYTES)
