"""Batches and facts as one piece of bytes: how a step with a memory tells what it keeps."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy.typing as npt
import orjson
import pyarrow as pa

from dataflow.connect import Corrupted

_LENGTH = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Saved:
    """What is told at once.

    Attributes:
        facts: anything that JSON can say.
        batches: rows and columns, by name.
    """

    facts: Mapping[str, Any] = field(default_factory=dict)
    batches: Mapping[str, pa.RecordBatch] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return it as bytes."""
        streams = {name: _stream(batch) for name, batch in self.batches.items()}
        sizes = {name: len(stream) for name, stream in streams.items()}
        head = orjson.dumps({"facts": self.facts, "sizes": sizes})
        return b"".join(
            [_LENGTH.pack(len(head)), head, *(memoryview(stream) for stream in streams.values())]
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Saved:
        """Return what was told; raises ``Corrupted`` if these are not its bytes."""
        try:
            at = _LENGTH.size + _LENGTH.unpack_from(data)[0]
            head = orjson.loads(data[_LENGTH.size : at])
            batches = {}
            for name, size in head["sizes"].items():
                with pa.ipc.open_stream(pa.py_buffer(data).slice(at, size)) as reader:
                    batches[name] = reader.read_next_batch()
                at += size
            return cls(head["facts"], batches)
        except (
            struct.error,
            ValueError,
            KeyError,
            TypeError,
            StopIteration,
            pa.ArrowInvalid,
        ) as error:
            raise Corrupted(f"a saved state cannot be read: {error}") from error


def columns(**arrays: npt.NDArray[Any]) -> pa.RecordBatch:
    """Return arrays as a batch."""
    return pa.RecordBatch.from_arrays([pa.array(each) for each in arrays.values()], [*arrays])


def _stream(batch: pa.RecordBatch) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return sink.getvalue()
