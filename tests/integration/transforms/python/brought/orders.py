"""Functions as users bring them: good ones, and every kind that is not."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    import polars as pl

NOT_CALLABLE = 5
SEEN: list[pa.RecordBatch] = []


class Prices:
    """A place for a function."""

    @staticmethod
    def doubled(batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return another column."""
        return batch.append_column("twice", pc.multiply(batch["price"], pa.scalar(2.0)))


def doubled(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return another column."""
    return Prices.doubled(batch)


def names_of(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return which columns were given, with one of them changed."""
    names = pa.array([",".join(batch.schema.names)] * batch.num_rows)
    changed = pc.negate(batch["price"])
    return pa.RecordBatch.from_arrays([names, changed], names=["names", "price"])


def as_table(batch: pa.RecordBatch) -> pa.Table:
    """Return a table, in two pieces if there are rows for two."""
    pieces = [batch.slice(0, 1), batch.slice(1)]
    return pa.Table.from_batches(pieces, batch.schema)


def in_polars(frame: pl.DataFrame, factor: float, unit: str = "") -> pl.DataFrame:
    """Return another column, and one that says how."""
    import polars as pl  # noqa: PLC0415 - most need none, and begin sooner

    return frame.with_columns(scaled=pl.col("price") * factor, unit=pl.lit(unit))


def dear(frame: pl.DataFrame, least: float) -> pl.DataFrame:
    """Drop rows."""
    import polars as pl  # noqa: PLC0415 - most need none, and begin sooner

    return frame.filter(pl.col("price") >= least)


def twice(batch: pa.RecordBatch) -> pa.Table:
    """Return each row two times, the last first."""
    backwards = batch.take(pa.array(range(batch.num_rows - 1, -1, -1), pa.int64()))
    return pa.Table.from_batches([backwards, backwards])


def from_nowhere(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Name a row that was not there."""
    return batch.set_column(
        batch.schema.get_field_index("row"), "row", pa.array([9] * batch.num_rows)
    )


def remembering(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Keep each batch, and return how the first began."""
    SEEN.append(batch)
    return batch.append_column("first", pa.repeat(SEEN[0]["price"][0], batch.num_rows))


def suited(batch: pa.RecordBatch) -> pa.Table:
    """Drop rows without b, double the first, and refuse a batch in which b is 5."""
    if pc.any(pc.equal(batch["b"], pa.scalar(5))).as_py():
        raise ValueError("five")
    kept = batch.filter(pc.is_valid(batch["b"]))
    return pa.Table.from_batches([kept, kept.slice(0, 1)])


def bad_price(batch: pa.RecordBatch, token: str = "") -> pa.RecordBatch:
    """Raise where a price is negative."""
    return checked(batch, token)


def checked(batch: pa.RecordBatch, token: str) -> pa.RecordBatch:
    """Raise where a price is negative."""
    if pc.min(batch["price"]).as_py() < 0:
        raise ValueError(f"a negative price, said {token}")
    return batch


def asleep(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Take too long where a price is negative."""
    if pc.min(batch["price"]).as_py() < 0:
        time.sleep(600)
    return batch


def deaf(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Ignore every signal that can be, and hang in C with Python's lock held."""
    for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_IGN)
    ctypes.PyDLL(None).sleep(600)
    return batch


def greedy(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Allocate without end where a price is negative."""
    held = []
    while pc.min(batch["price"]).as_py() < 0:
        held.append(bytearray(os.urandom(1 << 20)) * 8)
    return batch


def leaving(batch: pa.RecordBatch, how: str) -> pa.RecordBatch:
    """End the process where a price is negative."""
    if pc.min(batch["price"]).as_py() >= 0:
        return batch
    match how:
        case "exit":
            sys.exit(3)
        case "_exit":
            os._exit(3)
        case "fault":
            ctypes.string_at(0)
        case _:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(600)
    return batch


def with_children(batch: pa.RecordBatch, pids: str) -> pa.RecordBatch:
    """Begin a child of each kind, one of them in a session of its own; then hang."""
    child = subprocess.Popen(["sleep", "600"])
    orphan = subprocess.Popen(
        ["sh", "-c", f"setsid sleep 600 & echo $! > {pids}.orphan"], start_new_session=True
    )
    orphan.wait()
    forked = os.fork()
    if forked == 0:
        os.setsid()
        time.sleep(600)
    text = f"{os.getpid()} {child.pid} {forked} {Path(f'{pids}.orphan').read_text()}"
    Path(f"{pids}.tmp").write_text(text)
    Path(f"{pids}.tmp").rename(pids)
    time.sleep(600)
    return batch


def wrong(batch: pa.RecordBatch) -> object:
    """Return what its first row says: no batch, or one with other columns."""
    rows, price = batch.num_rows, batch["price"]
    made: dict[str, Callable[[], object]] = {
        "nothing": lambda: None,
        "number": lambda: 5,
        "lazy": _lazy,
        "hidden": lambda: batch.append_column("__ordinal", pa.nulls(rows)),
        "error": lambda: batch.append_column("__error", pa.nulls(rows)),
        "twice": lambda: pa.RecordBatch.from_arrays([price, price], names=["price", "price"]),
        "type": lambda: pa.record_batch({"price": price.cast(pa.string())}),
        "missing": lambda: pa.record_batch({"other": price}),
        "damaged": lambda: pa.RecordBatch.from_arrays([_damaged()], names=["price"]),
    }
    return made[batch["item"][0].as_py()]()


def _lazy() -> object:
    import polars as pl  # noqa: PLC0415 - most need none, and begin sooner

    return pl.LazyFrame({"price": [1.0]})


def _damaged() -> pa.Array[Any]:
    """Return two texts, of which one ends far outside of its memory."""
    offsets = pa.array([0, 1 << 30, 3], pa.int32()).buffers()[1]
    return pa.Array.from_buffers(pa.string(), 2, [None, offsets, pa.py_buffer(b"abc")])


def varying(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return another type where a price is negative."""
    if pc.min(batch["price"]).as_py() < 0:
        return pa.record_batch({"price": batch["price"].cast(pa.string())})
    return batch


def emptied(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return a column of which nothing is known where a price is negative."""
    if pc.min(batch["price"]).as_py() < 0:
        return pa.record_batch({"price": pa.nulls(batch.num_rows)})
    return batch


def surroundings(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return what the environment holds."""
    names = ",".join(sorted(os.environ))
    told = os.environ.get("TOLD", "")
    return pa.record_batch({"names": [names] * batch.num_rows, "told": [told] * batch.num_rows})


def pid(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Return in which process it runs."""
    return batch.append_column("pid", pa.repeat(os.getpid(), batch.num_rows))


def talking(batch: pa.RecordBatch, lines: int) -> pa.RecordBatch:
    """Print."""
    for number in range(lines):
        sys.stdout.write(f"line {number} of {os.environ.get('TOLD')}\n")
    sys.stderr.write("and the end\n")
    return batch
