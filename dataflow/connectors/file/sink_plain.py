"""One csv, json or text file, written in place.

Readers may see rows that are not decided yet while the pipeline runs; a recovery cuts them off.
"""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa

from dataflow.connect import Context, Rejected, Task
from dataflow.connectors.file.part import Part
from dataflow.connectors.file.sink_lock import Lock
from dataflow.connectors.file.sink_spec import FileSinkOptions, Layout, OpenPart, Written
from dataflow.connectors.file.sink_target import Target
from dataflow.connectors.file.write_file import GrowingFile, failures_of, size_of


class PlainFile(Target):
    """Appends in place; what is decided is a length."""

    def __init__(
        self, path: Path, layout: Layout, options: FileSinkOptions, context: Context
    ) -> None:
        super().__init__(path, layout, options, context)
        self.lock = Lock(path.with_name(f".{path.name}.lock"), path)
        self._part: Part | None = None
        self._begins_at = 0

    def open(self, task: Task, last: Written | None) -> None:
        """Cut the file back, or see what is there: it is touched AFTER the seed is decided."""
        with failures_of(self.path):
            found = size_of(self.path)
        if last is not None:
            self.is_mine(last)
            self.is_of_my_format(last, "parquet" if last.finished else "")
        elif found and self.options.if_exists == "fail":
            raise self.refused_as_present(f"has {found} bytes")
        self.claimed(task, last)
        self.probe("file-sink.open.claimed")
        if last is None:
            self._begins_at = found if self.options.if_exists == "append" else 0
            return
        self._begins_at = last.begins_at
        self._begin(last.open or OpenPart(name=self.path.name, bytes=last.begins_at))
        self.probe("file-sink.open.cut")

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows."""
        part = self._begun()
        if not part.fits(batch.schema):
            raise part.refusal(self.path, batch.schema)
        part.write(batch)
        self.probe("file-sink.write.appended")

    def prepare(self, *, final: bool) -> Written:  # noqa: ARG002 - a plain file is never finished
        """Make all rows durable; their length is what is decided."""
        seed = OpenPart(name=self.path.name, bytes=self._begins_at)
        state = self._part.sync() if self._part else seed
        self.probe("file-sink.prepare.synced")
        return Written(
            target=self.name,
            open=state,
            begins_at=self._begins_at,
            format=self.layout.format,
        )

    def commit(self, written: Written) -> None:
        """Begin the file once the seed is decided; rows are where they belong already.

        An instance that holds no lock leaves the file to ``open``.
        """
        if self.lock.held and written.target == self.name:
            self._begun()

    def discard(self, task: Task, keep: Written | None) -> None:
        """Do nothing: ``open`` has cut what older runs wrote."""

    def close(self) -> None:
        """Cut what was not prepared. The lock's record stays, to stop a run that wakes up late."""
        try:
            if self._part:
                self._part.close()
        finally:
            self._part = None
            self.lock.release()

    def _begun(self) -> Part:
        if self._part is None:
            self._begin(OpenPart(name=self.path.name, bytes=self._begins_at))
        if self._part is None:
            raise Rejected(f"{self.path} is not open", code="INTERNAL")
        return self._part

    def _begin(self, state: OpenPart) -> None:
        with failures_of(self.path):
            is_there = self.path.exists()
        if is_there or state.bytes:
            file = GrowingFile.resume(self.path, state.bytes)
        else:
            file = GrowingFile.create(self.path)
        self.probe("file-sink.begin.there")
        behind_others = self._begins_at > 0
        if behind_others and self.layout.format == "csv":  # no second line of names
            self.options = self.options.model_copy(update={"header": False})
        self._part = self.part(file, state)
        if behind_others and state.bytes == self._begins_at and self._ends_within_a_line():
            file.append(b"\n")

    def _ends_within_a_line(self) -> bool:
        if self.layout.compression != "none":
            return False
        with failures_of(self.path), self.path.open("rb") as text:
            text.seek(self._begins_at - 1, os.SEEK_SET)
            return text.read(1) != b"\n"
