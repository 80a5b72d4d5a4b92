"""The contract of a lookup: who is asked what else is known of a key.

A transform such as ``enrich`` asks in batches of distinct keys and keeps what it hears for a while;
a lookup only asks. Its spec imports no Arrow and no driver.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from dataflow.connect.model import Model
from dataflow.core.errors import Problem

if TYPE_CHECKING:
    import pyarrow as pa

    from dataflow.connect.spec import TransformSpec


class LookupOptions(Model):
    """Where to ask; the base of every lookup's options.

    Each has a field ``type``, a ``Literal`` of the lookup's name, by which people choose it.
    """

    type: str


LookupT = TypeVar("LookupT", bound=LookupOptions)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for.

    Attributes:
        keys: the columns of the rows that come in, whose values are the keys.
        columns: names of types, by the columns that are to be known of a key.
    """

    keys: Sequence[str]
    columns: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of some keys.

    Attributes:
        rows: the wanted columns, as texts or in any type that can be cast to the wanted one.
        of: for each row the number of its key among those asked, an int64 array. A key that is
            not named is not known.
        errors: why a key could not be asked, by its number: a bad one, where others are not.
    """

    rows: pa.RecordBatch
    of: pa.Int64Array
    errors: Mapping[int, str] = field(default_factory=dict)


class Lookup(ABC):
    """Answers in a thread; one instance serves one step of one run, and calls never overlap."""

    is_local = False
    """Whether it answers out of memory, so that keeping its answers would only make them old."""

    keys_max = 1_000
    """Keys that it is asked for at once."""

    @abstractmethod
    def find(self, keys: pa.RecordBatch) -> Answer:
        """Return what is known of some keys, which all differ and hold no NULL.

        Raises:
            Unavailable: nobody answers; the run is tried again later.
            Rejected: the question itself is refused; the pipeline fails.
        """

    def close(self) -> None:  # noqa: B027 - optional
        """Release what it holds. Called once, also after an error."""


def _no_problems(*_: object) -> Sequence[Problem]:
    return ()


@dataclass(frozen=True, slots=True)
class LookupSpec(Generic[LookupT]):
    """A lookup: all that is needed to check and document it.

    Attributes:
        open: where a callable ``(options, wanted, context) -> Lookup`` is.
        check: finds what the model cannot, without I/O; fields are relative to the options.
    """

    name: str
    summary: str
    options: type[LookupT]
    open: str
    check: Callable[[LookupT, Wanted], Sequence[Problem]] = _no_problems


AnyLookup: TypeAlias = LookupSpec[Any]


@dataclass(frozen=True, slots=True)
class AskingSpec:
    """A transform that asks lookups: its options name one of those that the registry knows.

    Attributes:
        made: returns its spec, given every lookup there is.
    """

    name: str
    made: Callable[[Sequence[AnyLookup]], TransformSpec[Any]]
