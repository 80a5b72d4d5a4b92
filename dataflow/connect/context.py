"""What a step is handed by the engine that runs it: everything that is not its own."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dataflow.core.clock import Clock
from dataflow.core.ids import PipelineId

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class LogBatch:
    """Records of an ingest log, and the offset of the next record after them."""

    batch: pa.RecordBatch
    next_offset: int


class Log(Protocol):
    """A pipeline's ingest log, as its source sees it: durable records, in order, by offset."""

    def read(self, start: int) -> AsyncGenerator[LogBatch, None]:
        """Yield the records from ``start`` on, for ever: an idle log just waits.

        Raises:
            Rejected: records from ``start`` on have been forgotten.
            Corrupted: the log ends before ``start``, or its files are damaged.
        """
        ...

    async def begin(self) -> int:
        """Return the offset of the first record that is still there."""
        ...

    async def end(self) -> int:
        """Return the offset of the record that will be acknowledged next."""
        ...

    async def behind(self, start: int) -> tuple[int, int]:
        """Return how many records, and bytes of storage, there are from ``start`` on."""
        ...

    async def schema(self) -> pa.Schema | None:
        """Return the type of all its records; None until the first batch has been pushed."""
        ...

    async def cut(self, below: int) -> None:
        """Forget records before an offset, when it suits; their effects are decided."""
        ...


@dataclass(frozen=True, slots=True)
class Context:
    """The engine's side of one step of one pipeline.

    Attributes:
        pipeline: whose step it is.
        step: its name within the pipeline: ``source``, ``sink``, a transform's id.
        clock: time of day and steady seconds; a connector asks no other.
        secret: resolves ``${env:X}`` and ``${file:/path}`` in a text, at the node that uses it.
        path: resolves a local path and refuses those outside the roots this node allows.
        log: the pipeline's ingest log, where it has one.
        probe: called with a name between two effects that must not swap; tests die there.
        previews: somebody looks at the first records: nothing is to be left behind anywhere.
        python_allowed: whether this node runs functions that people bring, in processes.
    """

    pipeline: PipelineId
    step: str
    clock: Clock
    secret: Callable[[str], str]
    path: Callable[[str], Path]
    log: Log | None = None
    probe: Callable[[str], None] = lambda _: None
    previews: bool = False
    python_allowed: bool = False
