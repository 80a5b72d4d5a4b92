"""Records of a partition as columns, whoever fetched them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import KafkaError

from dataflow.connect import Split, SplitId

RECORD_BYTES = 64
"""Of a record in memory beside value, key and headers, at the most."""

Headers = Sequence[tuple[str, bytes | None]]
Unreadable = Literal[False]
"""In place of headers of which a name is no UTF-8."""


class Partition(NamedTuple):
    """A partition of a topic."""

    topic: str
    number: int

    @property
    def split(self) -> Split:
        """Return the split that it is."""
        return Split(SplitId(f"{self.topic}/{self.number}"))

    @classmethod
    def of(cls, split: Split) -> Partition:
        """Return the partition that a split is."""
        topic, _, number = split.id.rpartition("/")
        return cls(topic, int(number))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of records beside offsets and values.

    Attributes:
        lines: a line feed behind each value, so that JSON values are JSON lines as they are.
    """

    lines: bool = False
    keys: bool = False
    times: bool = False
    headers: bool = False


class Told(NamedTuple):
    """What the driver told of a partition instead of a record."""

    offset: int
    error: KafkaError


@dataclass(frozen=True, slots=True)
class Fetched:
    """Records of one partition in their order, and errors that came behind or between them.

    Attributes:
        partition: all are of it.
        offsets: int64.
        values: large_binary; null is a tombstone.
        keys: large_binary, null where a record has none.
        times_ms: int64, milliseconds since 1970.
        headers: of each record; None where it has none.
    """

    partition: Partition
    offsets: pa.Array[Any]
    values: pa.Array[Any]
    keys: pa.Array[Any] | None = None
    times_ms: pa.Array[Any] | None = None
    headers: Sequence[Headers | Unreadable | None] | None = None
    told: Sequence[Told] = ()

    def __len__(self) -> int:
        return len(self.offsets)

    @property
    def is_nothing(self) -> bool:
        """Tell whether there are neither records nor errors."""
        return not len(self.offsets) and not self.told

    @property
    def size(self) -> int:
        """Return the bytes it takes in memory, at the most."""
        named = (one for headers in self.headers or () for one in headers or ())
        size = sum(len(name) + len(value or b"") + 200 for name, value in named)
        size += data_bytes(self.values) + len(self) * RECORD_BYTES
        return size if self.keys is None else size + data_bytes(self.keys)

    @property
    def resume_at(self) -> int:
        """Return the offset behind the last record."""
        return int(self.offsets[-1].as_py()) + 1

    def slice(self, first: int, most: int) -> Fetched:
        """Return some of the records, without a copy."""
        if first == 0 and most >= len(self):
            return self
        return replace(
            self,
            offsets=self.offsets.slice(first, most),
            values=self.values.slice(first, most),
            keys=None if self.keys is None else self.keys.slice(first, most),
            times_ms=None if self.times_ms is None else self.times_ms.slice(first, most),
            headers=None if self.headers is None else self.headers[first : first + most],
        )

    def without_tombstones(self) -> Fetched:
        """Return the records that have a value."""
        if not self.values.null_count:
            return self
        return self.only(pc.is_valid(self.values))

    def only(self, mask: pa.Array[Any]) -> Fetched:
        """Return the records for which it is true."""
        headers = zip(self.headers or (), mask.to_pylist(), strict=self.headers is not None)
        return replace(
            self,
            offsets=self.offsets.filter(mask),
            values=self.values.filter(mask),
            keys=None if self.keys is None else self.keys.filter(mask),
            times_ms=None if self.times_ms is None else self.times_ms.filter(mask),
            headers=None if self.headers is None else [one for one, has in headers if has],
        )


def data_of(column: pa.Array[Any]) -> bytes:
    """Return the bytes of all values of a large_binary column, one behind the other."""
    begin, end = _ends(column)
    data = column.buffers()[2]
    return b"" if data is None else data[begin:end].to_pybytes()


def data_bytes(column: pa.Array[Any]) -> int:
    """Return how many bytes the values of a large_binary column have."""
    begin, end = _ends(column)
    return end - begin


def _ends(column: pa.Array[Any]) -> tuple[int, int]:
    if not len(column):
        return 0, 0
    ends = pa.Array.from_buffers(
        pa.int64(), len(column) + 1, [None, column.buffers()[1]], offset=column.offset
    )
    return ends[0].as_py(), ends[-1].as_py()


def nothing(partition: Partition, told: Sequence[Told] = ()) -> Fetched:
    """Return no records."""
    numbers, bytes_ = pa.array([], pa.int64()), pa.array([], pa.large_binary())
    return Fetched(partition, numbers, bytes_, bytes_, numbers, (), told)
