"""The contract of a step with a memory: what it has seen, where time stands, several inputs.

A ``Transform`` handles each batch by itself. An ``Operator`` may keep rows and answer later: when
more rows come, when an input has ended, or when time has passed.

Event time stands, for each split, at the latest moment seen in it. A step that waits for event
time goes by the least of its open splits: ``splits`` tells it of them BEFORE their first rows, and
``split_ended`` takes each off the list.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from pydantic import Field

from dataflow.connect.model import Options
from dataflow.connect.transform import Output

if TYPE_CHECKING:
    import pyarrow as pa

STATE_BYTES_MAX = 1 << 30
"""Of one step's state, where its options say nothing: fits a small machine beside the rest."""


class OperatorOptions(Options):
    """The options of every step with a memory."""

    state_bytes_max: int = Field(
        default=STATE_BYTES_MAX,
        ge=1 << 16,
        le=1 << 40,
        description="Bytes of memory that this step may keep; the pipeline fails beyond, and"
        " loses nothing: give it more, or let the step forget earlier.",
    )


@dataclass(frozen=True, slots=True)
class Via:
    """By which way rows come: ``input`` as the step's ``inputs`` name it, and the split.

    Rows that an operator makes are of the split with the operator's own name, unless it
    ``keeps_splits``.
    """

    input: str
    split: str


NOTHING = Output()
"""No rows, and none accounted for."""


class Operator(ABC):
    """One step with a memory. One instance serves one run; its calls never overlap.

    Every call runs in a thread and must not touch the event loop. Rows that it makes anew have
    no ``ORDINAL``: the engine numbers a batch without that column.
    """

    ticks = False
    """Whether ``tick`` is wanted, about once a second."""

    keeps_splits = False
    """Whether what ``apply`` returns is of the split that came in: rows pass one by one."""

    first: Sequence[str] = ()
    """The inputs that are read to their end BEFORE anything of the others is: tables."""

    @abstractmethod
    def apply(self, batch: pa.RecordBatch, via: Via) -> Output:
        """Handle one batch; raises as ``Transform.apply``."""

    def rest(self) -> Output | None:
        """Return more of what the call before gives, None once there is no more.

        So what one batch makes may be larger than memory: each ``Output`` is of a bounded size.
        Asked after every call that returns an ``Output``, again and again, BEFORE any other call
        and BEFORE a checkpoint; its rows all count as ``produced``.
        """
        return None

    def splits(self, input_name: str, splits: Sequence[str], *, idles: bool) -> None:  # noqa: B027 - optional
        """Take note of the splits that an input reads from now on, those known before included.

        ``idles`` tells whether one of them may bring nothing for as long as it likes, as a
        partition of a topic may; one that does not is only waiting for its turn.
        """

    def split_ended(self, via: Via) -> Output:  # noqa: ARG002 - optional
        """Take note that a split brings no more rows."""
        return NOTHING

    def input_begins(self, input_name: str) -> Output:  # noqa: ARG002 - optional
        """Take note that a scheduled input is read again from its beginning."""
        return NOTHING

    def input_ended(self, input_name: str) -> Output:  # noqa: ARG002 - optional
        """Take note that an input brings no more rows; after the last, nothing is called.

        A later run calls it again, where an input had ended before: what it gave then is decided.
        """
        return NOTHING

    def tick(self, now: datetime) -> Output:  # noqa: ARG002 - optional
        """Do what is due by the time of day."""
        return NOTHING

    @property
    def state_bytes(self) -> int:
        """Return about how many bytes of memory the state takes."""
        return 0

    def changes(self, *, whole: bool) -> bytes | None:  # noqa: ARG002 - optional
        """Return what has changed since the last call, or the whole state; None if nothing has.

        A whole one takes the place of all before: an empty state is told too, unless none was.
        A restored state counts as told. The rows of a batch are in it once ``apply`` returned.
        """
        return None

    def restore(self, parts: Sequence[bytes]) -> None:
        """Take up a state, BEFORE anything else: a whole one, then the changes since, in order."""
        raise NotImplementedError(
            f"{type(self).__name__} has no state, yet was given {parts!r:.40}"
        )

    def close(self) -> None:  # noqa: B027 - optional
        """Release what it holds. Called once, also after an error."""
