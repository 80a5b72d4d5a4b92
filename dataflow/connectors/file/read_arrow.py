"""Files of Arrow's IPC format, with a footer (Feather 2) or as a stream, a record batch at a time.

https://arrow.apache.org/docs/format/Columnar.html#serialization-and-interprocess-communication-ipc
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from dataflow.connect import Rejected
from dataflow.connect.batches import one_batch
from dataflow.connectors.file.arrow_ends import END, begins, is_file, is_stream
from dataflow.connectors.file.read_groups import BATCH_ROWS, GroupPass, Rows, normal
from dataflow.connectors.file.source_stream import reading


@dataclass(frozen=True, slots=True)
class _Group:
    """A record batch, what it takes in the file, and whether it is the last."""

    batch: pa.RecordBatch
    bytes: int
    at_end: bool


def arrow_schema(path: Path) -> pa.Schema:
    """Return the columns of a file, of the types that expressions compute in.

    Raises:
        Waiting: there is no such file.
        Rejected: it is damaged, not complete, or no Arrow file.
    """
    with _opened(path) as reader:
        return normal(reader.schema)


class ArrowPass(GroupPass):
    """One reading of a file from a position to its end; a group is a record batch."""

    def groups(self) -> int:
        """See ``GroupPass``; those of a stream have to be read to be counted."""
        with _opened(self.path) as reader:
            return sum(1 for _ in reader.groups(0))

    def rows(self) -> Generator[Rows, None, None]:
        """See ``GroupPass``."""
        with _opened(self.path) as reader:
            schema = normal(reader.schema)
            size = self.batch_rows or BATCH_ROWS
            for number, group in enumerate(reader.groups(self.start.row_group)):
                index = self.start.row_group + number
                _require_sound(group.batch)
                total = group.batch.num_rows
                begin = self.start.skip if not number else 0
                for row in range(begin, total, size):
                    part = group.batch.slice(row, size)
                    whole = pa.Table.from_batches([part]).cast(schema)
                    last = row + part.num_rows == total
                    at = (index + 1, 0) if last else (index, row + part.num_rows)
                    taken = group.bytes * part.num_rows // total
                    yield Rows(one_batch(whole), *at, taken, last and group.at_end)


def _require_sound(batch: pa.RecordBatch) -> None:
    """Check what Arrow trusts: an offset that points outside of its buffer ends the process."""
    batch.validate(full=True)


class _Stream:
    """Batches behind one another; those before a position are passed over by reading them."""

    def __init__(self, source: pa.NativeFile) -> None:
        self._source = source
        self._reader = pa.ipc.open_stream(source)
        self.schema = self._reader.schema

    def groups(self, first: int) -> Iterator[_Group]:
        """Yield the batches from one on.

        Raises:
            ArrowInvalid: the stream is not all of the file: rows behind it would go unread.
        """
        ends, number = self._source.size() - len(END), 0
        before = self._source.tell()
        for batch in self._reader:
            after = self._source.tell()
            if number >= first:
                yield _Group(batch, after - before, after == ends)
            number, before = number + 1, after
        if before != ends:
            raise pa.ArrowInvalid(f"the stream ends at byte {before}, where the file goes on")


class _File:
    """Batches that a footer knows the places of."""

    def __init__(self, source: pa.NativeFile) -> None:
        self._size = source.size()
        self._reader = pa.ipc.open_file(source)
        self.schema = self._reader.schema

    def groups(self, first: int) -> Iterator[_Group]:
        """Yield the batches from one on; Arrow does not tell what each takes of the file."""
        many = self._reader.num_record_batches
        for index in range(first, many):
            batch = self._reader.get_batch(index)
            yield _Group(batch, self._size // many, index == many - 1)


@contextmanager
def _opened(path: Path) -> Iterator[_File | _Stream]:
    with reading(path, 0), path.open("rb") as raw:
        begin = raw.read(len(END))
        raw.seek(max(0, raw.seek(0, 2) - len(END)))
        end = raw.read()
        with pa.OSFile(str(path), "rb") as source:
            try:
                if is_file(begin, end):
                    yield _File(source)
                elif is_stream(begin, end):
                    yield _Stream(source)
                else:
                    raise Rejected(f"{path}: {_fault(begin)}", code="CORRUPTED")
            except (pa.ArrowException, MemoryError) as error:  # a length that is not true
                raise Rejected(
                    f"{path}: damaged, or no Arrow file: {error}", code="CORRUPTED"
                ) from error


def _fault(begin: bytes) -> str:
    if begin.startswith(b"FEA1"):
        return "Feather of version 1 is not read; write it again as version 2"
    if begins(begin):
        return (
            "it does not end as an Arrow file or stream does: it was cut, or whoever writes it has"
            " not closed it"
        )
    return "damaged, or no Arrow file: it begins like none"
