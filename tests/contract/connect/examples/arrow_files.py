"""A whole exactly-once sink: an Arrow IPC file a checkpoint; a rename makes it visible."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa

from dataflow.connect import (
    Committable,
    Context,
    Corrupted,
    Guarantee,
    Options,
    SinkSpec,
    SinkStep,
    StagingSink,
    Task,
    sync_path,
)

STAGING = ".staging"
"""Inside the directory, so that a rename never crosses disks."""


class StagedFile(Committable):
    """A complete file under this name; empty where a checkpoint has no rows."""

    name: str = ""


class ArrowFiles(StagingSink[StagedFile]):
    """A directory that only ever shows complete, decided files."""

    def __init__(self, folder: Path, probe: Callable[[str], None]) -> None:
        self._visible = folder
        self._staging = folder / STAGING
        self._probe = probe
        self._task: Task | None = None
        self._batches: list[pa.RecordBatch] = []

    async def open(self, task: Task, last: StagedFile | None) -> None:
        # Nothing to cut back: rows are in memory until prepared, and discard drops the rest.
        self._task = task
        await asyncio.to_thread(self._staging.mkdir, parents=True, exist_ok=True)
        if last is not None and last.name:
            await asyncio.to_thread(self._must_exist, last.name)

    async def write(self, batch: pa.RecordBatch) -> None:
        self._batches.append(batch)

    async def prepare(self, number: int, *, final: bool) -> StagedFile:
        batches, self._batches = self._batches, []
        if not batches:
            return StagedFile()
        name = self.name_of(number)
        await asyncio.to_thread(self._write_durably, self._staging / name, batches)
        return StagedFile(name=name)

    async def commit(self, committable: StagedFile) -> None:
        if committable.name:
            await asyncio.to_thread(self._reveal, committable.name)

    async def discard(self, task: Task, keep: StagedFile | None) -> None:
        await asyncio.to_thread(self._discard, task, keep.name if keep else "")

    async def close(self) -> None:
        self._batches = []

    def name_of(self, number: int) -> str:
        """Return a name that no other writer has: pipeline, task, lineage, run, number."""
        task = self._task
        if task is None:
            raise Corrupted("prepare was called before open")
        return f"{task.pipeline}.{task.index}.{task.lineage}.{task.run}.{number}.arrow"

    def _write_durably(self, path: Path, batches: Sequence[pa.RecordBatch]) -> None:
        with path.open("wb") as file:
            with pa.ipc.new_file(file, batches[0].schema) as writer:
                for batch in batches:
                    writer.write_batch(batch)
            file.flush()
            self._probe("arrow-files.written")
            os.fsync(file.fileno())
        sync_path(path.parent)

    def _reveal(self, name: str) -> None:
        self._must_exist(name)
        if (self._staging / name).exists():
            (self._staging / name).replace(self._visible / name)
            self._probe("arrow-files.renamed")
        sync_path(self._visible)

    def _must_exist(self, name: str) -> None:
        if not (self._staging / name).exists() and not (self._visible / name).exists():
            raise Corrupted(f"{self._visible}: {name} was decided and is gone")

    def _discard(self, task: Task, keep: str) -> None:
        for path in self._staging.glob(f"{task.pipeline}.{task.index}.*.arrow"):
            run = int(path.name.split(".")[-3])
            if run < task.run and path.name != keep:
                path.unlink()
                self._probe("arrow-files.discarded")


def open_arrow_files(step: SinkStep, _: Options, context: Context) -> ArrowFiles:
    """Return the sink of a step."""
    return ArrowFiles(context.path(context.secret(step.connection_string)), context.probe)


SPEC = SinkSpec(
    name="arrow-files",
    summary="Arrow IPC files, one a checkpoint.",
    guarantee=Guarantee.EXACTLY_ONCE,
    options=Options,
    open=f"{__name__}:open_arrow_files",
    committable=StagedFile,
    lanes=True,
)
