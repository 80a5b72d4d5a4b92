"""One parquet or Arrow file: not to be cut, so staged as an Arrow stream until its run ends.

A pipeline that goes on later takes the file back into a stage with its first new row, and
rewrites it at its next end; readers see the old file until then.
"""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow as pa

from dataflow.connect import Context, Corrupted, Rejected, Task, sync_path
from dataflow.connectors.file.convert import batches_of
from dataflow.connectors.file.part import Part, Stages, stages_of
from dataflow.connectors.file.sink_lock import Lock
from dataflow.connectors.file.sink_note import NOTE, Note
from dataflow.connectors.file.sink_spec import FileSinkOptions, FinishedPart, Layout, Written
from dataflow.connectors.file.sink_target import Target
from dataflow.connectors.file.write_file import GrowingFile, failures_of, size_of


class ConvertedFile(Target):
    """Holds either an open stage, or the file that was finished last."""

    def __init__(
        self, path: Path, layout: Layout, options: FileSinkOptions, context: Context
    ) -> None:
        super().__init__(path, layout, options, context)
        self.lock = Lock(path.with_name(f".{path.name}.lock"), path)
        note = Note(path.with_name(f".{path.name}{NOTE}"))
        self._stages = Stages(
            path.parent, path.parent, ".", context.probe, kind=layout.format, note=note
        )
        self._task: Task | None = None
        self._part: Part | None = None
        self._shown: FinishedPart | None = None
        self._replaces = False

    def open(self, task: Task, last: Written | None) -> None:
        """Cut the stage back, or see what is there: it is touched AFTER the seed is decided."""
        with failures_of(self.path):
            found = size_of(self.path)
        if last is not None:
            self.is_mine(last)
            self.is_of_my_format(last, "text" if last.open and not last.open.stage else "")
        elif found and self.options.if_exists == "fail":
            raise self.refused_as_present(f"has {found} bytes")
        self.claimed(task, last)
        self._task = task
        self.probe("file-sink.open.claimed")
        self._replaces = last.replaces if last else bool(found)
        if last is None:
            self._stages.note.remove()
            return
        self._remove_former()
        if last.open:
            file = GrowingFile.resume(self._stages.folder / last.open.stage, last.open.bytes)
            self._part = self.part(file, last.open)
            self.probe("file-sink.open.cut")
        self._shown = last.finished[0] if last.finished else None

    def write(self, batch: pa.RecordBatch) -> None:
        """Stage rows. A batch without any still tells the columns."""
        self._remove_former()
        if self._part is None and self._shown and batch.num_rows:
            self._take_back(self._shown)
        if self._shown and not batch.num_rows:
            return
        part = self._part or self._create()
        if not part.fits(batch.schema):
            raise part.refusal(self.path, batch.schema)
        part.write(batch)
        self.probe("file-sink.write.appended")

    def prepare(self, *, final: bool) -> Written:
        """Make the stage durable; the last checkpoint of a run makes it a whole file."""
        state = self._part.sync() if self._part else None
        if self._part and final:
            part, self._part = self._part, None
            self._shown = self._stages.finish(part, self._opened(), self.layout.compression)
            state = None
        with failures_of(self._stages.folder):
            sync_path(self._stages.folder)
        self.probe("file-sink.prepare.synced")
        return Written(
            target=self.name,
            finished=(self._shown,) if self._shown else (),
            open=state,
            replaces=self._replaces,
            format=self.layout.format,
        )

    def commit(self, written: Written) -> None:
        """Rename the finished file into place."""
        if self.lock.held:
            self._remove_former()
        self._stages.reveal(written.finished)

    def discard(self, task: Task, keep: Written | None) -> None:
        """Drop what older runs of the task staged."""
        self._stages.drop_older(task, stages_of(keep), re.escape(self.path.name))

    def close(self) -> None:
        """Cut what was not prepared. The lock's record stays, to stop a run that wakes up late."""
        try:
            if self._part:
                self._part.close()
        finally:
            self._part = None
            self.lock.release()

    def _opened(self) -> Task:
        if self._task is None:
            raise Rejected(f"{self.path} is not open", code="INTERNAL")
        return self._task

    def _remove_former(self) -> None:
        """Remove what was there, AFTER the seed is decided and BEFORE the first row."""
        if self._replaces:
            with failures_of(self.path):
                self.path.unlink(missing_ok=True)
                self.probe("file-sink.replace.removed")
                sync_path(self.path.parent)
            self._replaces = False

    def _create(self, *, over: bool = False) -> Part:
        file, state = self._stages.create(self._opened(), self.path.name, self.clock.now())
        self._part = self.part(file, state.model_copy(update={"over": over}))
        return self._part

    def _take_back(self, shown: FinishedPart) -> None:
        """Copy the finished file into a stage. It stays what readers see, and what is decided.

        Raises:
            Corrupted: a reader has taken it; beginning another would hide that it is not all.
        """
        with failures_of(self.path):
            if not self.path.exists():
                raise Corrupted(
                    f"{self.path}: the file with the {shown.rows} rows so far is gone; put the file"
                    " back, or write what comes to another file"
                )
        part = self._create(over=True)
        for batch in batches_of(self.path, self.layout.format, shown.rows):
            part.write(batch)
        self._shown = None
        self.probe("file-sink.take-back.staged")
