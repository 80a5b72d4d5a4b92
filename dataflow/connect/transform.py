"""The contract of a transform without a memory: a batch in, batches out, in a thread."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pyarrow as pa

ORDINAL = "__ordinal"
"""The engine's hidden int64 column: a record's number within its split. It names the record in
dead letters and idempotent keys; a transform keeps it beside every row it passes on."""

MAIN = ""
"""The output of a transform that has only one."""


@dataclass(frozen=True, slots=True)
class Output:
    """What became of a batch. rows in + produced = rows out + filtered + absorbed + rejected.

    Attributes:
        batches: by output name; ``MAIN`` where there is one. May be empty or hold empty batches.
        rejected: input rows that could not be handled, with the input's columns (``ORDINAL``
            included) and one more, ``ERROR``, a large_string.
        filtered: rows dropped on purpose.
        produced: rows out beyond one for each row in.
        absorbed: rows taken into state.
    """

    batches: Mapping[str, pa.RecordBatch] = field(default_factory=dict)
    rejected: pa.RecordBatch | None = None
    filtered: int = 0
    produced: int = 0
    absorbed: int = 0


ERROR = "__error"
"""The column of ``Output.rejected`` that says why."""

HIDDEN = frozenset({ORDINAL, ERROR})
"""The engine's own columns: no source may have them, no option and no expression name them."""


class Transform(ABC):
    """One step. One instance serves one run; its calls never overlap."""

    @abstractmethod
    def apply(self, batch: pa.RecordBatch) -> Output:
        """Handle one batch. Runs in a thread and must not touch the event loop.

        Raises:
            Rejected: the batch as a whole cannot be handled, for example because a column is
                missing; the pipeline fails. A bad row goes to ``Output.rejected`` instead.
        """

    def close(self) -> None:  # noqa: B027 - optional
        """Release what it holds. Called once, also after an error."""
