"""What runs the function of a ``python`` step, in a process that a keeper has forked.

Imports nothing else of the platform, and Arrow only here: the keeper needs none.
"""

from __future__ import annotations

import fcntl
import gc
import importlib
import json
import mmap
import os
import resource
import socket
import sys
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

MESSAGE_BYTES_MAX = 32 << 10
"""A question, an answer or an error with its lines: what a socket passes as one message."""

SAME = b"same"
"""Metadata of a column that goes back as a number: the column that came in, unchanged."""

SAID_MAX, FRAMES_MAX = 4_000, 20
"""Of an exception: characters of its message, and the calls nearest to where it was raised."""

ARENA_MIN = 1 << 20
"""Bytes; beyond, the next power of two above what a result needs."""


def serve(platform: socket.socket, begin: int) -> None:
    """Import the function, then answer one batch after the other, until nobody asks."""
    with os.fdopen(begin, "rb") as file:
        told = json.load(file)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would hold rows
    with suppress(OSError):  # where memory is out, the system shall take this process first
        Path("/proc/self/oom_score_adj").write_text("1000")
    sys.path[:0] = told["path"]
    try:
        apply = _applied(told)
    except BaseException as error:  # noqa: BLE001 - also an exit: the platform tells people
        _say(platform, {"unloaded": _raised(error)})
        return
    _say(platform, {"ready": True})
    answer = _Answering(apply, told["frame"])
    while True:
        message, given, _, _ = socket.recv_fds(platform, MESSAGE_BYTES_MAX, 1)
        if not message:
            return
        said, fds = answer.to(json.loads(message), given)
        socket.send_fds(platform, [json.dumps(said).encode()], fds)
        for fd in fds:
            os.close(fd)


def _say(platform: socket.socket, said: dict[str, Any]) -> None:
    platform.send(json.dumps(said).encode())


def _applied(told: dict[str, Any]) -> Callable[[Any], Any]:
    """Return the function with its arguments."""
    importlib.import_module("pyarrow")
    if told["frame"] == "polars":
        importlib.import_module("polars")
    module, _, name = told["function"].partition(":")
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        if not hasattr(found, part):
            raise ImportError(f"{module} has no {name}")
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{told['function']} is {type(found).__name__}, which cannot be called")
    function, args = found, told["args"]
    return lambda batch: function(batch, **args)


class _Wrong(Exception):
    """The function has returned what is no batch."""


class _Mapped:
    """Shared memory for as long as an array lies in it."""

    def __init__(self, memory: mmap.mmap) -> None:
        self.memory = memory


class _Answering:
    """Reads batches where the platform has written them, and writes results where it reads."""

    def __init__(self, apply: Callable[[Any], Any], frame: str) -> None:
        self._apply = apply
        self._frame = frame
        self._given: mmap.mmap | None = None
        self._result = _Result()

    def to(self, asked: dict[str, Any], given: list[int]) -> tuple[dict[str, Any], list[int]]:
        """Return the answer, and the shared memory that it lies in if that is new."""
        for fd in given:
            self._given = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
            os.close(fd)
        if self._given is None:
            raise RuntimeError("a batch came without memory")
        mapped = _Mapped(self._given)
        held = weakref.ref(mapped)
        said, fds = self._answer(mapped, asked["length"])
        del mapped
        if held() is not None:
            gc.collect(1)  # an exception's frames hold one another
        if held() is not None:  # the function keeps rows: they stay where they are
            self._given = None
            said["held"] = True
        return said, fds

    def _answer(self, mapped: _Mapped, length: int) -> tuple[dict[str, Any], list[int]]:
        batch = _read(mapped, length)
        try:
            frame, seen = self._shown(batch)
            made = batch_of(self._apply(frame))
            length, fds = self._result.write(_marked(made, seen))
        except _Wrong as error:
            return {"wrong": str(error)}, []
        except BaseException as error:  # noqa: BLE001 - also an exit: it is the batch that failed
            return {"raised": _raised(error)}, []
        return {"length": length}, fds

    def _shown(self, batch: pa.RecordBatch) -> tuple[Any, list[Any]]:
        """Return what the function is given, and the columns by which it is known again."""
        if self._frame == "arrow":
            return batch, batch.columns
        import polars as pl  # noqa: PLC0415 - where it is asked for

        frame: Any = pl.from_arrow(batch)
        return frame, batch_of(frame).columns


def _read(mapped: _Mapped, length: int) -> pa.RecordBatch:
    import pyarrow as pa  # noqa: PLC0415 - see the top

    address = pa.py_buffer(mapped.memory).address
    return pa.ipc.open_stream(pa.foreign_buffer(address, length, mapped)).read_next_batch()


def batch_of(made: object) -> pa.RecordBatch:
    """Return what a function has returned as one batch."""
    import pyarrow as pa  # noqa: PLC0415 - see the top

    polars: Any = sys.modules.get("polars")
    if isinstance(made, pa.RecordBatch):
        return made
    if polars is not None and isinstance(made, polars.DataFrame):
        made = made.to_arrow(compat_level=polars.CompatLevel.newest())
    if isinstance(made, pa.Table):
        columns: Any = [
            column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
            for column in made.columns
        ]
        if not columns:
            raise _Wrong("it returned a table without columns")
        return pa.RecordBatch.from_arrays(columns, schema=made.schema)
    hint = "; call collect() on it" if type(made).__name__ == "LazyFrame" else ""
    raise _Wrong(
        f"it returned {type(made).__name__}, not an Arrow RecordBatch or Table or a Polars"
        f" DataFrame{hint}"
    )


def _marked(made: pa.RecordBatch, seen: list[Any]) -> pa.RecordBatch:
    """Return a result in which a column that came in is its number: it need not be carried."""
    import pyarrow as pa  # noqa: PLC0415 - see the top

    known = {key: str(at) for at, column in enumerate(seen) if (key := _key(column))}
    columns, fields = [], []
    for field, column in zip(made.schema, made.columns, strict=True):
        at = known.get(_key(column)) if known else None
        if at is None:
            columns.append(column)
            fields.append(field.remove_metadata())
        else:
            columns.append(pa.nulls(made.num_rows))
            fields.append(pa.field(field.name, pa.null(), metadata={SAME: at}))
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _key(column: Any) -> Any:  # noqa: ANN401 - Any column
    """Return what two columns have in common that are one and the same memory; None of others."""
    of = column.type
    if of.num_fields or hasattr(of, "value_type") or not len(column):
        return None
    buffers = tuple((b.address, b.size) if b else None for b in column.buffers())
    return of, len(column), column.offset, buffers


class _Result:
    """Shared memory that results are written to, one over the other; grows."""

    def __init__(self) -> None:
        self._memory: Any = None

    def write(self, batch: pa.RecordBatch) -> tuple[int, list[int]]:
        """Write a batch; returns how long it is, and the memory if it is new."""
        import pyarrow as pa  # noqa: PLC0415 - see the top

        if self._memory is not None:
            with suppress(OSError):  # it does not fit
                return written(batch, pa.FixedSizeBufferWriter(self._memory)), []
        size = max(ARENA_MIN, 1 << written(batch, pa.MockOutputStream()).bit_length())
        fd = os.memfd_create("dataflow-result", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.posix_fallocate(fd, 0, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        self._memory = pa.py_buffer(mmap.mmap(fd, size))
        return written(batch, pa.FixedSizeBufferWriter(self._memory)), [fd]


def written(batch: pa.RecordBatch, to: Any) -> int:  # noqa: ANN401 - any of Arrow's streams
    """Write a batch as a stream; returns how long it is."""
    import pyarrow as pa  # noqa: PLC0415 - see the top

    with pa.ipc.new_stream(to, batch.schema) as stream:
        stream.write_batch(batch)
    length: int = to.tell() if isinstance(to, pa.FixedSizeBufferWriter) else to.size()
    return length


# --- what went wrong -----------------------------------------------------------------------------


def _raised(error: BaseException) -> dict[str, Any]:
    """Return an exception as people read it: what it says, and where in their code it was."""
    frames = list(_frames(error.__traceback__))[-FRAMES_MAX:]
    return {
        "type": type(error).__name__,
        "message": _said(error),
        "missing": getattr(error, "name", None) if isinstance(error, ImportError) else None,
        "at": _place(frames),
        "lines": traceback.format_list(frames),
    }


def _place(frames: Sequence[traceback.FrameSummary]) -> str:
    """Return the last line of the user's own: that of a library tells them less."""
    if not frames:
        return ""
    own = Path(frames[0].filename).parent
    place = next(frame for frame in reversed(frames) if own in Path(frame.filename).parents)
    return f"{Path(place.filename).name}:{place.lineno}"


def _said(error: BaseException) -> str:
    try:
        return str(error)[:SAID_MAX]
    except Exception:  # noqa: BLE001 - it is the user's class
        return "(it has no message)"


def _frames(of: TracebackType | None) -> Iterator[traceback.FrameSummary]:
    """Yield the calls of a traceback that are not of this file or of the import system."""
    for frame in traceback.extract_tb(of):
        if frame.filename not in {__file__, importlib.__file__} and "<frozen" not in frame.filename:
            yield frame
