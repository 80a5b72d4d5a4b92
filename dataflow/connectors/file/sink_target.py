"""What the three layouts of the file sink have in common; all of it runs in one thread."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import pyarrow as pa

from dataflow.connect import Context, Rejected, Task
from dataflow.connectors.file.part import MEMBER_BYTES, Part
from dataflow.connectors.file.sink_lock import Lock
from dataflow.connectors.file.sink_spec import FileSinkOptions, Layout, OpenPart, Written
from dataflow.connectors.file.write_file import GrowingFile
from dataflow.connectors.formats.encode import compressor_of, encoder_of


class Target(ABC):
    """A ``StagingSink`` without its waiting: same calls, same order, same promises."""

    lock: Lock

    def __init__(
        self, path: Path, layout: Layout, options: FileSinkOptions, context: Context
    ) -> None:
        self.path = path
        self.name = str(path)
        """What the journal calls it: where its user wrote a reference, that."""
        self.layout = layout
        self.options = options
        self.clock = context.clock
        self.probe = context.probe

    @abstractmethod
    def open(self, task: Task, last: Written | None) -> None:
        """Cut back to ``last``; the lock is held."""

    @abstractmethod
    def write(self, batch: pa.RecordBatch) -> None:
        """Stage rows."""

    @abstractmethod
    def prepare(self, *, final: bool) -> Written:
        """Make rows durable, and say how to show them."""

    @abstractmethod
    def commit(self, written: Written) -> None:
        """Show what is decided."""

    @abstractmethod
    def discard(self, task: Task, keep: Written | None) -> None:
        """Drop what older runs staged."""

    @abstractmethod
    def close(self) -> None:
        """Drop what was not prepared, and let the next writer in."""

    def part(self, file: GrowingFile, state: OpenPart, member_bytes: int = MEMBER_BYTES) -> Part:
        """Return a part that writes as the options say."""
        encoder = encoder_of(self.layout.format, self.options)
        compress = compressor_of(self.layout.compression, self.layout.format)
        return Part(file, state, encoder, compress=compress, member_bytes=member_bytes)

    def is_mine(self, last: Written) -> None:
        """Refuse to go on with what another target holds."""
        if last.target != self.name:
            raise Rejected(
                f"{self.path}: the rows so far are in {last.target}; change the path back, or"
                " replay the pipeline",
                code="SINK_CHANGED",
            )

    def is_of_my_format(self, last: Written, older: str) -> None:
        """Refuse to go on in another format; ``older`` is what a release that named none wrote."""
        was = last.format or older
        if was and was != self.layout.format:
            raise Rejected(
                f"{self.path}: the rows so far are {was}; write to another file, undo the change,"
                " or replay with ifExists: replace",
                code="SINK_CHANGED",
            )

    def claimed(self, task: Task, last: Written | None) -> None:
        """Take a single file over, unless somebody else has written to it since ``last``."""
        before = self.lock.holder()
        if last and before and before.pipeline != task.pipeline:
            raise Rejected(
                f"{self.path}: pipeline {before.pipeline!r} has written here since; write to"
                " another file, or replay with ifExists: replace",
                code="SINK_CHANGED",
            )
        self.lock.claim(task)

    def refused_as_present(self, what: str) -> Rejected:
        """Return the error of data that was there before."""
        return Rejected(
            f"{self.path} {what} already; choose append or replace, or another path",
            field="options.ifExists",
        )
