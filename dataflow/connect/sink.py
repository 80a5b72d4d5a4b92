"""The contracts of a sink: staging, transactional, idempotent, and the honest fourth.

Exactly once means: the rows of a checkpoint become visible if and only if its positions are
decided. The three kinds differ in where that one decision is made.

* ``StagingSink``: the engine decides in its register, then calls ``commit``.
* ``TransactionalSink``: the sink's own transaction holds rows and decision.
* ``IdempotentSink``: rows may be written again under the same keys; the register decides.
* ``AtLeastOnceSink``: rows may be seen again after a crash, and its spec says so.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from dataflow.connect.model import Committable
from dataflow.core.checkpoint import Checkpoint
from dataflow.core.ids import Lineage, PipelineId, Run

if TYPE_CHECKING:
    import pyarrow as pa

CommittableT = TypeVar("CommittableT", bound=Committable)


@dataclass(frozen=True, slots=True)
class Task:
    """Who is writing. Stages are named by all of it, so that no two writers ever collide."""

    pipeline: PipelineId
    index: int
    run: Run
    lineage: Lineage


class StagingSink(ABC, Generic[CommittableT]):
    """Stages rows, and makes a prepared checkpoint visible when told that it is decided.

    One instance serves one run. Order of calls: ``commit`` (again, of the last decision),
    ``open``, ``discard``, then ``write``, ``prepare`` and ``commit``, where rows of the next
    checkpoint may be written between a ``prepare`` and its ``commit``; ``close`` last.
    """

    replaces = False
    """Whether a lineage that reads everything again writes in place of what is there, its own
    rows too: then it is opened without ``last``. Otherwise its rows come behind."""

    @abstractmethod
    async def open(self, task: Task, last: CommittableT | None) -> None:
        """Cut back to exactly what ``last`` prepared, BEFORE the first write.

        ``last`` is None in a lineage that has decided nothing: then nothing may be touched that
        was there before, and nothing written until the first ``prepare`` is decided.

        Raises:
            Rejected: the target cannot be written as configured, or is somebody else's.
            Corrupted: what ``last`` names is gone.
            Unavailable: the engine retries, for example while a former writer holds its lock.
        """

    @abstractmethod
    async def write(self, batch: pa.RecordBatch) -> None:
        """Stage rows behind those before; not visible to readers yet.

        A run's first batch may have no rows: it tells the columns.
        """

    @abstractmethod
    async def prepare(self, number: int, *, final: bool) -> CommittableT:
        """Make all rows so far survive a crash, and say how to make them visible.

        Args:
            number: of the checkpoint.
            final: the run ends with it; a sink that keeps a file open for more rows finishes it.
        """

    @abstractmethod
    async def commit(self, committable: CommittableT) -> None:
        """Make a decided checkpoint visible.

        Idempotent, and callable by an instance that never saw the rows.

        Raises:
            Unavailable: the engine retries until it succeeds; the checkpoint is decided.
        """

    async def discard(self, task: Task, keep: CommittableT | None) -> None:
        """Drop what runs before ``task.run`` staged, except what ``keep`` names.

        Never touch stages of an equal or larger run: the caller may be the zombie.
        """

    async def close(self) -> None:
        """Release everything. Called once, also after an error; drops what was not prepared."""


REFUSED_COLUMNS = ("index", "error")
"""int64, large_string: which row of the batch, from 0, and why the target cannot hold it."""


class TransactionalSink(ABC):
    """Holds its decision beside its rows; a transaction is a compare-and-set on the stamp."""

    @abstractmethod
    async def recover(self, task: Task, seed: Checkpoint) -> Checkpoint | None:
        """Claim the target for ``task.run`` and return the decision it holds.

        Aborts what a former run left open. Stores and returns ``decision_held`` of what the
        target holds, or ``seed`` if it holds nothing.

        Raises:
            Fenced: a larger run has claimed the target.
        """

    @abstractmethod
    async def write(self, batch: pa.RecordBatch) -> pa.RecordBatch | None:
        """Write rows inside the open transaction; returns those that the target cannot hold.

        They are told by ``REFUSED_COLUMNS`` and left out, all others are written; None is none.
        The step's ``onError`` decides what becomes of them, in the same checkpoint.

        Raises:
            Rejected: the batch as a whole cannot be written, for example because a column has no
                place in the target; the pipeline fails.
            Unavailable: the engine begins a new run from the last decision.
        """

    @abstractmethod
    async def commit(self, decision: Checkpoint) -> None:
        """Make rows and decision visible in one transaction, if the stored stamp is the one before.

        Raises:
            Fenced: it is not; a larger run has decided.
            Unavailable: code ``OUTCOME_UNKNOWN``; the next run's ``recover`` finds out.
        """

    async def close(self) -> None:  # noqa: B027  # optional
        """Release everything; rolls back what is open."""


class IdempotentSink(ABC):
    """Writes under keys that depend on the record alone, so that writing twice is writing once."""

    @abstractmethod
    async def open(self, task: Task) -> None:
        """Connect; raises as ``StagingSink.open``."""

    @abstractmethod
    async def write(self, batch: pa.RecordBatch, split: str) -> None:
        """Write rows under ``(pipeline, lineage, split, ordinal)``; may return before they are."""

    @abstractmethod
    async def flush(self) -> None:
        """Return when everything written so far is durable."""

    async def close(self) -> None:  # noqa: B027  # optional
        """Release everything."""


class AtLeastOnceSink(ABC):
    """Writes, and after a crash writes some rows again: a console, a webhook.

    Attributes:
        refuses: whether ``write`` ever returns rows; one that takes all or fails is cheaper to run.
    """

    refuses = True

    @abstractmethod
    async def open(self, task: Task) -> None:
        """Connect; raises as ``StagingSink.open``."""

    @abstractmethod
    async def write(self, batch: pa.RecordBatch) -> pa.RecordBatch | None:
        """Write rows; may return before they are delivered.

        Returns those that the target cannot hold, as ``TransactionalSink.write`` does.
        """

    @abstractmethod
    async def flush(self) -> None:
        """Return when everything written so far is delivered."""

    async def close(self) -> None:  # noqa: B027  # optional
        """Release everything."""
