"""The three kinds of sink, and the honest fourth, behind one face for the task.

kind             before a decision      the decision        after it
staging          prepare                register            commit
transactional    -                      its own commit      -
idempotent       flush                  register            -
at least once    flush                  register            -
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from dataflow.connect import (
    AtLeastOnceSink,
    Committable,
    IdempotentSink,
    Rejected,
    StagingSink,
    Task,
    TransactionalSink,
)
from dataflow.connect.transform import ORDINAL
from dataflow.core.checkpoint import Checkpoint
from dataflow.core.ids import SplitId

if TYPE_CHECKING:
    import pyarrow as pa


class Staged(NamedTuple):
    """What a sink prepared: what to commit, as JSON text, and the rows that stay hidden then."""

    text: str = ""
    hidden: int = 0


class Output(ABC):
    """A sink as the task drives it."""

    keeps_ordinal = False
    """Whether rows are handed over with the engine's hidden column."""

    decides = False
    """Whether a checkpoint is decided by ``decide``, not by the register."""

    @property
    def refuses(self) -> bool:
        """Tell whether a write may refuse rows: each is then named by its ordinal."""
        return False

    @abstractmethod
    async def open(self, task: Task, start: Checkpoint) -> Checkpoint | None:
        """Get ready to write behind ``start``; returns the decision that the sink itself holds."""

    @abstractmethod
    async def write(self, batch: pa.RecordBatch, split: SplitId) -> pa.RecordBatch | None:
        """Write rows of the next checkpoint; returns those refused, with ``REFUSED_COLUMNS``."""

    async def prepare(self, number: int, *, final: bool) -> Staged:  # noqa: ARG002 - only staging
        """Make the rows so far durable, undecided."""
        return Staged()

    async def decide(self, checkpoint: Checkpoint) -> None:  # noqa: B027 - optional
        """Decide in the sink itself, where the sink does."""

    async def commit(self, committable: str) -> None:  # noqa: B027 - optional
        """Make a decided checkpoint visible."""

    @abstractmethod
    async def close(self) -> None:
        """Release the sink."""


@dataclass(frozen=True, slots=True)
class Staging(Output):
    """The engine decides, the sink publishes."""

    sink: StagingSink[Any]
    model: type[Committable]
    name: str
    probe: Callable[[str], None]

    async def open(self, task: Task, start: Checkpoint) -> None:
        """Publish the last decision again, cut back to it, drop what older runs staged."""
        text = "" if self._begins_anew(start) else start.committables.get(self.name, "")
        last = self.model.model_validate_json(text) if text else None
        if last is not None:
            await self.sink.commit(last)
        self.probe("output.recommitted")
        await self.sink.open(task, last)
        self.probe("output.opened")
        await self.sink.discard(task, last)
        self.probe("output.discarded")

    def _begins_anew(self, start: Checkpoint) -> bool:
        """Tell whether everything is read again into a sink that replaces what was there."""
        is_beginning = not (start.seeded or start.positions or start.latest)
        return is_beginning and self.sink.replaces

    async def write(self, batch: pa.RecordBatch, split: SplitId) -> None:  # noqa: ARG002 - same face
        """Stage rows."""
        await self.sink.write(batch)

    async def prepare(self, number: int, *, final: bool) -> Staged:
        """Make what is staged durable."""
        committable: Committable = await self.sink.prepare(number, final=final)
        return Staged(committable.model_dump_json(), committable.hidden_rows)

    async def commit(self, committable: str) -> None:
        """Publish."""
        await self.sink.commit(self.model.model_validate_json(committable))

    async def close(self) -> None:
        """Release the sink."""
        await self.sink.close()


@dataclass(frozen=True, slots=True)
class Transactional(Output):
    """The sink decides, in the transaction that holds the rows."""

    sink: TransactionalSink
    decides = True

    @property
    def refuses(self) -> bool:
        """Tell that it may."""
        return True

    async def open(self, task: Task, start: Checkpoint) -> Checkpoint | None:
        """Claim the sink and ask what it had decided."""
        return await self.sink.recover(task, start)

    async def write(
        self,
        batch: pa.RecordBatch,
        split: SplitId,  # noqa: ARG002 - same face
    ) -> pa.RecordBatch | None:
        """Write inside the transaction; returns what the sink refuses."""
        return await self.sink.write(batch)

    async def decide(self, checkpoint: Checkpoint) -> None:
        """Commit rows and decision together."""
        await self.sink.commit(checkpoint)

    async def close(self) -> None:
        """Release the sink."""
        await self.sink.close()


@dataclass(frozen=True, slots=True)
class Idempotent(Output):
    """Rows may come again, under the same keys."""

    sink: IdempotentSink
    keeps_ordinal = True
    _written: dict[SplitId, int] = field(default_factory=dict)
    """Of each split, the last ordinal that this run has written."""

    async def open(self, task: Task, start: Checkpoint) -> None:  # noqa: ARG002 - same face
        """Connect."""
        await self.sink.open(task)

    async def write(self, batch: pa.RecordBatch, split: SplitId) -> None:
        """Write under keys made of split and ordinal.

        Raises:
            Rejected: several rows have become of one record, and the sink would keep one of them.
        """
        ordinals = batch.column(ORDINAL)
        if batch.num_rows:
            bounds = _min_max(ordinals)
            apart = len(ordinals.unique()) == len(ordinals)
            if not apart or bounds[0] <= self._written.get(split, -1):
                raise Rejected(
                    "several rows come of one record here (by flatMap, a route of every match, or"
                    " two ways of the graph), and this sink keeps one row a record; choose a sink"
                    " of another kind"
                )
            self._written[split] = bounds[1]
        await self.sink.write(batch, split)

    async def prepare(self, number: int, *, final: bool) -> Staged:  # noqa: ARG002 - same face
        """Wait until all rows are durable."""
        await self.sink.flush()
        return Staged()

    async def close(self) -> None:
        """Release the sink."""
        await self.sink.close()


@dataclass(frozen=True, slots=True)
class AtLeastOnce(Output):
    """Rows may come again, and the sink's spec says so."""

    sink: AtLeastOnceSink

    @property
    def refuses(self) -> bool:
        """Tell what the sink says of itself."""
        return self.sink.refuses

    async def open(self, task: Task, start: Checkpoint) -> None:  # noqa: ARG002 - same face
        """Connect."""
        await self.sink.open(task)

    async def write(
        self,
        batch: pa.RecordBatch,
        split: SplitId,  # noqa: ARG002 - same face
    ) -> pa.RecordBatch | None:
        """Write; returns what the sink refuses.

        Raises:
            Rejected: it refuses rows, and had said that it never does.
        """
        refused = await self.sink.write(batch)
        if refused is not None and refused.num_rows and not self.sink.refuses:
            raise Rejected("the sink refuses rows, and says that it never does: set its `refuses`")
        return refused

    async def prepare(self, number: int, *, final: bool) -> Staged:  # noqa: ARG002 - same face
        """Wait until all rows are delivered."""
        await self.sink.flush()
        return Staged()

    async def close(self) -> None:
        """Release the sink."""
        await self.sink.close()


def _min_max(ordinals: pa.Array[Any]) -> tuple[int, int]:
    import pyarrow.compute as pc  # noqa: PLC0415 - never at start-up

    found = pc.min_max(ordinals)
    return found["min"].as_py(), found["max"].as_py()


def output(
    sink: object, name: str, model: type[Committable], probe: Callable[[str], None]
) -> Output:
    """Return a sink behind the task's face, by its kind."""
    match sink:
        case StagingSink():
            return Staging(sink, model, name, probe)
        case TransactionalSink():
            return Transactional(sink)
        case IdempotentSink():
            return Idempotent(sink)
        case AtLeastOnceSink():
            return AtLeastOnce(sink)
        case _:
            raise Rejected(f"{type(sink).__name__} is none of the kinds in dataflow.connect.sink")
