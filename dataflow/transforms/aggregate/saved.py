"""A state as bytes: a head of JSON, then a frame for each table as Arrow's IPC, compressed."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import polars as pl
import pyarrow as pa
from pydantic import Field, ValidationError

from dataflow.connect import Corrupted, Model

FORMAT = 1
"""Of the head; another one is of a release that this one does not know."""

_SIZE_BYTES = 8


class Head(Model):
    """What a step knows beside its groups; the last one told counts.

    Attributes:
        epoch: how often everything was closed; parts of an earlier one are done with.
        columns: those that came in, as Arrow's IPC in base64.
        rows: how many were taken.
        watermark, seen: see ``EventTime``.
        closed: see ``Windows``.
        ended: the inputs that bring no more rows.
    """

    format: int = FORMAT
    epoch: int
    columns: str
    rows: int
    watermark: int
    seen: Mapping[str, int]
    closed: int
    ended: Sequence[str] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Saved:
    """One part of a state."""

    head: Head
    frames: Sequence[pl.DataFrame]


def written(saved: Saved) -> bytes:
    """Return a part as bytes."""
    pieces = [memoryview(saved.head.model_dump_json().encode()), *map(_frame, saved.frames)]
    sized = ((len(piece).to_bytes(_SIZE_BYTES), piece) for piece in pieces)
    return b"".join(chain.from_iterable(sized))


def read(part: bytes) -> Saved:
    """Return a part from its bytes.

    Raises:
        Corrupted: they are not what ``written`` makes.
    """
    try:
        head, *frames = _pieces(part)
        return Saved(Head.model_validate_json(head), [pl.read_ipc(each) for each in frames])
    except (ValueError, ValidationError, pl.exceptions.PolarsError) as error:
        raise Corrupted(f"the state of an aggregate cannot be read: {error}") from error


def schema_text(schema: pa.Schema) -> str:
    """Return a schema as text."""
    return base64.b64encode(schema.serialize()).decode()


def schema_from(text: str) -> pa.Schema:
    """Return the schema that a text stands for."""
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def _frame(frame: pl.DataFrame) -> memoryview:
    sink = io.BytesIO()
    frame.write_ipc(sink, compression="lz4")
    return sink.getbuffer()


def _pieces(part: bytes) -> Sequence[bytes]:
    pieces, at = [], 0
    while at < len(part):
        begin = at + _SIZE_BYTES
        at = begin + int.from_bytes(part[at:begin])
        if at > len(part):
            raise ValueError(f"{len(part)} bytes, where {at} are needed")
        pieces.append(part[begin:at])
    return pieces
