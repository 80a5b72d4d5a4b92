"""A directory of finished part files; those that are not decided wait in a hidden folder."""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pyarrow as pa

from dataflow.connect import Context, Rejected, Task, sync_path
from dataflow.connectors.file.part import MEMBER_BYTES, Part, Stages, stages_of
from dataflow.connectors.file.sink_lock import Lock
from dataflow.connectors.file.sink_note import NOTE, Note
from dataflow.connectors.file.sink_spec import (
    ROTATE_BYTES,
    ROTATE_INTERVAL,
    ROTATE_ROWS,
    FileSinkOptions,
    FinishedPart,
    Layout,
    Written,
)
from dataflow.connectors.file.sink_target import Target
from dataflow.connectors.file.write_file import GrowingFile, failures_of

STAGE, LOCK = ".stage", "lock"
"""Hidden, and inside the directory, so that a rename never crosses disks."""

PART = re.compile(r"part-\d+-(\d+)\.[a-z0-9.]+")


class Directory(Target):
    """Writes one part at a time; a part becomes visible, whole, by the commit that decided it."""

    def __init__(
        self, path: Path, layout: Layout, options: FileSinkOptions, context: Context
    ) -> None:
        super().__init__(path, layout, options, context)
        self.lock = Lock(path / STAGE / LOCK, path)
        note = Note(path / STAGE / f"{context.pipeline}{NOTE}")
        self._stages = Stages(path / STAGE, path, "", context.probe, kind=layout.format, note=note)
        self._task: Task | None = None
        self._part: Part | None = None
        self._finished: list[FinishedPart] = []
        self._replaces = False
        self._former = self._next = 1
        rows, size, age = options.rotate_rows, options.rotate_bytes, options.rotate_interval
        self._rows_max = ROTATE_ROWS if rows is None else rows
        self._bytes_max = ROTATE_BYTES if size is None else size
        self._age_max = ROTATE_INTERVAL if age is None else age

    def open(self, task: Task, last: Written | None) -> None:
        """Cut the open part back, or see what is there: it is touched AFTER the seed is decided."""
        if last is not None:
            self.is_mine(last)
        with failures_of(self.path):
            names = [p.name for p in self.path.iterdir() if not p.name.startswith(".")]
        if last is None:
            self._replaces = self._may_replace(names)
        self.lock.claim(task)
        if last is None:
            self._stages.note.remove()
        self._task = task
        self.probe("file-sink.open.claimed")
        self._next = max([last.next if last else 1, *(n + 1 for n in self._numbers(names))])
        self._former = last.next if last else self._next
        if last and last.replaces:
            self._replaces = True
            self._remove_parts()
        if last and last.open:
            file = GrowingFile.resume(self._stages.folder / last.open.stage, last.open.bytes)
            self._part = self.part(file, last.open, self._member_bytes)
            self.probe("file-sink.open.cut")

    def write(self, batch: pa.RecordBatch) -> None:
        """Stage rows in parts of exactly as many as are asked for."""
        self._remove_parts()
        while batch.num_rows:
            part = self._part_for(batch.schema)
            room = self._rows_max - part.state.rows if self._rows_max else batch.num_rows
            part.write(batch.slice(0, room))
            self.probe("file-sink.write.appended")
            batch = batch.slice(min(room, batch.num_rows))
            if self._is_full(part):
                self._finish()

    def prepare(self, *, final: bool) -> Written:
        """Make the open part durable; the last checkpoint of a run finishes it."""
        if self._part and (final or self._is_full(self._part)):
            self._finish()
        state = self._part.sync() if self._part else None
        with failures_of(self._stages.folder):
            sync_path(self._stages.folder)
        self.probe("file-sink.prepare.synced")
        return Written(
            target=self.name,
            finished=tuple(self._finished),
            open=state,
            replaces=self._replaces,
            next=self._next,
        )

    def commit(self, written: Written) -> None:
        """Rename decided parts into sight."""
        if self.lock.held:
            self._remove_parts()
        self._stages.reveal(written.finished)
        shown = {part.name for part in written.finished}
        self._finished = [part for part in self._finished if part.name not in shown]

    def discard(self, task: Task, keep: Written | None) -> None:
        """Drop what older runs of the task staged."""
        self._stages.drop_older(task, stages_of(keep), PART.pattern)

    def close(self) -> None:
        """Cut what was not prepared; where nothing is staged, leave parts and notes alone."""
        try:
            if self._part:
                self._part.close()
        finally:
            self._part = None
            empty = self.lock.held and all(n == LOCK or n.endswith(NOTE) for n in self._staged())
            self.lock.release(remove=empty)
            if empty:
                with suppress(OSError):  # there are notes, or the next writer has come
                    self._stages.folder.rmdir()

    def _staged(self) -> list[str]:
        with suppress(FileNotFoundError):
            return [path.name for path in self._stages.folder.iterdir()]
        return []

    def _may_replace(self, names: list[str]) -> bool:
        """Tell whether there are parts to be replaced, or refuse."""
        if names and self.options.if_exists == "fail":
            raise self.refused_as_present(f"holds {min(names)!r}")
        strange = sorted(name for name in names if not PART.fullmatch(name))
        if strange and self.options.if_exists == "replace":
            raise Rejected(
                f"{self.path} holds {strange[0]!r}, which is no part file and so is not replaced;"
                " remove it, or choose another path",
                field="options.ifExists",
            )
        return bool(names) and self.options.if_exists == "replace"

    def _remove_parts(self) -> None:
        """Remove what was there, AFTER the seed is decided and BEFORE the first row.

        By number: ours begin behind theirs, so that a run that wakes up late removes none of ours.
        """
        if not self._replaces:
            return
        with failures_of(self.path):
            for path in sorted(self.path.iterdir()):
                found = PART.fullmatch(path.name)
                if found and int(found[1]) < self._former:
                    path.unlink()
                    self.probe("file-sink.replace.removed")
            sync_path(self.path)
        self._replaces = False

    def _numbers(self, names: list[str]) -> list[int]:
        """Return the numbers of parts that are there or that others stage: not to be used again."""
        task = self._opened()
        with failures_of(self._stages.folder):
            staged = self._staged()
        others = [n for n in staged if not n.startswith(f"{task.pipeline}.{task.index}.")]
        return [int(found[1]) for name in (*names, *others) if (found := PART.search(name))]

    @property
    def _member_bytes(self) -> int:
        return min(MEMBER_BYTES, self._bytes_max or MEMBER_BYTES)

    def _opened(self) -> Task:
        if self._task is None:
            raise Rejected(f"{self.path} is not open", code="INTERNAL")
        return self._task

    def _part_for(self, schema: pa.Schema) -> Part:
        part = self._part
        if part and not (self._is_as_asked(part) and part.fits(schema)):
            self._finish()
        if self._part is None:
            task = self._opened()
            final = f"part-{task.lineage}-{self._next:06d}.{self.layout.extension}"
            made = self._stages.create(task, final, self.clock.now())
            self._next += 1
            self._part = self.part(*made, self._member_bytes)
        return self._part

    def _is_as_asked(self, part: Part) -> bool:
        """Tell whether a part that an earlier run began suits the options of this one."""
        return part.state.name.endswith(f".{self.layout.extension}") and not self._is_full(part)

    def _is_full(self, part: Part) -> bool:
        state = part.state
        age = self.clock.now() - state.opened_at if state.opened_at else timedelta()
        return (
            bool(self._rows_max and state.rows >= self._rows_max)
            or bool(self._bytes_max and state.bytes >= self._bytes_max)
            or bool(self._age_max and age >= self._age_max)
        )

    def _finish(self) -> None:
        if self._part:
            part, self._part = self._part, None
            finished = self._stages.finish(part, self._opened(), self.layout.compression)
            self._finished.append(finished)
