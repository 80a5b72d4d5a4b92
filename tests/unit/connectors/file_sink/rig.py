"""A small engine around one file sink: seed, write, prepare, decide, commit, and death anywhere.

Everything an engine would keep is here: the run, the decision and the rows it stands for. What a
killed process leaves is on disk: the sink is dropped without ``close``.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from dataflow.connect import Context, SinkStep, Task
from dataflow.connect.spec import parse
from dataflow.connectors.file.sink import FileSink, open_sink
from dataflow.connectors.file.sink_note import NOTE
from dataflow.connectors.file.sink_spec import FileSinkOptions, Written
from dataflow.core.ids import Lineage, PipelineId, Run

ROWS, BATCH, EVERY = 30, 5, 2
"""Rows in all, rows of a batch, and batches of a checkpoint."""

PATIENCE_S = 20.0
"""A thread that is let go ends in milliseconds."""


class Killed(BaseException):
    """The process is gone; nothing catches it."""


class Held:
    """Holds the first write of a file sink in its thread until it is let go, as a disk may."""

    def __init__(self) -> None:
        self.busy, self.free = Event(), Event()

    def __call__(self, name: str) -> None:
        if name == "file-sink.write.appended":
            self.busy.set()
            assert self.free.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.free.set()


class Clock:
    """The steady clock moves a second whenever somebody looks: nobody waits in these tests."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def steady(self) -> float:
        self.seconds += 1
        return self.seconds


def batch_of(start: int, stop: int) -> pa.RecordBatch:
    """Return rows that can be told apart."""
    return pa.record_batch(
        {
            "id": pa.array(range(start, stop), pa.int64()),
            "name": pa.array([f"row {i}, with a comma" for i in range(start, stop)]),
        }
    )


def text_batch_of(start: int, stop: int) -> pa.RecordBatch:
    """Return rows of one column."""
    return pa.record_batch({"line": pa.array([str(i) for i in range(start, stop)])})


@dataclass
class Rig:
    """One pipeline with a file sink; ``kill_at`` counts every point where it can die."""

    target: Path
    options: Mapping[str, Any] = field(default_factory=dict)
    rows: Callable[[int, int], pa.RecordBatch] = batch_of
    pipeline: str = "p"
    run: int = 10
    lineage: int = 1
    decided: str = ""
    decided_rows: int = 0
    kill_at: int = -1
    points: list[str] = field(default_factory=list)
    at_point: Callable[[str], None] = lambda _: None
    clock: Clock = field(default_factory=Clock)
    total: int = ROWS

    def fresh(self, folder: Path) -> Rig:
        """Return a pipeline of its own into the same target below ``folder``."""
        return replace(self, target=folder / self.target, points=[], clock=type(self.clock)())

    def sink(self, batch_size: int = 1) -> FileSink:
        """Return a sink as the engine opens it."""
        options = parse(FileSinkOptions, json.dumps(dict(self.options)))
        context = Context(
            pipeline=PipelineId(self.pipeline),
            step="sink",
            clock=self.clock,
            secret=lambda text: text,
            path=Path,
            probe=self.point,
        )
        step = SinkStep(sink_type="file", connection_string=str(self.target), batch_size=batch_size)
        return open_sink(step, options, context)

    def task(self, run: int = 0) -> Task:
        """Return who is writing."""
        return Task(PipelineId(self.pipeline), 0, Run(run or self.run), Lineage(self.lineage))

    @property
    def last(self) -> Written | None:
        """Return the decision as the journal gives it back."""
        return Written.model_validate_json(self.decided) if self.decided else None

    def point(self, name: str) -> None:
        """Die here if it is time."""
        self.points.append(name)
        self.at_point(name)
        if len(self.points) - 1 == self.kill_at:
            raise Killed(name)

    async def live(self, *, final: bool = True, checkpoints: int = 1_000) -> None:
        """Run from the last decision to the end of the rows, or to death."""
        self.run += 1
        sink = self.sink()
        try:
            await self._live(sink, final=final, checkpoints=checkpoints)
        except Killed:
            kill(sink)
            raise
        except Exception:
            await sink.close()
            raise
        await sink.close()

    async def _live(self, sink: FileSink, *, final: bool, checkpoints: int) -> None:
        self.point("engine.start")
        if self.last:
            await sink.commit(self.last)
            self.point("engine.committed-again")
        await sink.open(self.task(), self.last)
        self.point("engine.opened")
        await sink.discard(self.task(), self.last)
        self.point("engine.discarded")
        if self.last is None:
            await self._checkpoint(sink, 0, final=False, ahead=0)
        at = self.decided_rows
        for _ in range(checkpoints):
            due = min(at + EVERY * BATCH, self.total)
            while at < due:
                await self._write(sink, at)
                at += BATCH
            last_one = at >= self.total
            ahead = 0 if last_one else BATCH
            await self._checkpoint(sink, at, final=final and last_one, ahead=ahead)
            at += ahead
            if last_one:
                return

    async def _write(self, sink: FileSink, at: int) -> None:
        await sink.write(self.rows(at, at + BATCH))
        self.point("engine.written")

    async def _checkpoint(self, sink: FileSink, rows: int, *, final: bool, ahead: int) -> None:
        """Prepare and decide; rows of the next checkpoint may come before the commit."""
        written = await sink.prepare(0, final=final)
        self.point("engine.prepared")
        if ahead:
            await self._write(sink, rows)
        self.decided, self.decided_rows = written.model_dump_json(), rows
        self.point("engine.decided")
        await sink.commit(written)
        self.point("engine.committed")

    async def survive(self) -> None:
        """Go on after a death, as often as it takes."""
        self.kill_at = -1
        await self.live()

    def visible(self) -> list[int]:
        """Return the rows that a reader sees."""
        if self.target.is_dir():
            parts = sorted(p for p in self.target.iterdir() if not p.name.startswith("."))
            return [row for part in parts for row in rows_in(part)]
        return rows_in(self.target) if self.target.exists() else []

    def hidden(self) -> list[str]:
        """Return what is there beside the output, except what remembers the last run."""
        return hidden(self.target)


def hidden(target: Path) -> list[str]:
    """Return what is there beside an output, except what remembers its last run and its parts."""
    folder = target if target.is_dir() else target.parent
    found = [path.relative_to(folder) for path in folder.rglob("*") if _is_leaf(path)]
    return sorted(
        str(path)
        for path in found
        if str(path).startswith(".") and path.suffix != NOTE and path.name != f".{target.name}.lock"
    )


def _is_leaf(path: Path) -> bool:
    return path.is_file() or not any(path.iterdir())


def kill(sink: FileSink) -> None:
    """Let go of what the system takes back from a dead process: its locks, and no more."""
    lock = sink._target.lock
    if lock.held:
        os.close(lock._fd)
    sink._thread.shutdown(wait=True)


def plain_bytes(path: Path) -> bytes:
    """Return what a file holds once unpacked."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".zst":
        out = b""
        with pa.input_stream(path, compression="zstd") as stream:
            while more := stream.read(1 << 16):
                out += more
        return out
    return data


def arrow_table(path: Path) -> pa.Table:
    """Return the rows of an Arrow file."""
    with pa.OSFile(str(path), "rb") as source:
        return pa.ipc.open_file(source).read_all()


def rows_in(path: Path) -> list[int]:
    """Return the ids in a file, by a reader that is not ours."""
    if path.suffix in {".parquet", ".arrow"}:
        found = pq.read_table(path) if path.suffix == ".parquet" else arrow_table(path)
        assert found.num_columns in {0, 2}
        return [int(str(i)) for i in found["id"].to_pylist()] if found.num_columns else []
    text = plain_bytes(path).decode()
    if ".csv" in path.name:
        return [int(row["id"]) for row in csv.DictReader(io.StringIO(text))]
    if ".txt" in path.name:
        return [int(line) for line in text.splitlines()]
    return [json.loads(line)["id"] for line in text.splitlines()]
