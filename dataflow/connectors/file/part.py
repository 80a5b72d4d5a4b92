"""A file that rows are written to, and the hidden names under which parts wait to be decided.

    create --write--> open --finish--> finished --reveal (decided)--> visible
              ^         | resume: cut to the decided length
              +---------+

A stage's name holds pipeline, task, lineage and run, so that no two writers ever mean the same
file, and a run can tell what older runs left behind.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

import pyarrow as pa

from dataflow.connect import Corrupted, Rejected, Task, Unavailable, sync_path
from dataflow.connectors.file.convert import convert, schema_of
from dataflow.connectors.file.sink_note import Note
from dataflow.connectors.file.sink_spec import FinishedPart, OpenPart, Written
from dataflow.connectors.file.write_file import (
    GrowingFile,
    failures_of,
    size_of,
)
from dataflow.connectors.formats.encode import Encoder, columns_of, plain
from dataflow.connectors.formats.shape import Compression, Format

MEMBER_BYTES = 1 << 20
"""Rows gathered for one gzip member or zstd frame: past it, compression gains nothing."""

STREAMS: Mapping[Format, str] = {"parquet": ".arrow", "arrow": ".stream"}
"""End the stages of parts that will be converted, and say to what."""

Probe = Callable[[str], None]


class Part:
    """An open file of rows. Its bytes behind the last ``sync`` are nobody's yet."""

    def __init__(
        self,
        file: GrowingFile,
        state: OpenPart,
        encoder: Encoder,
        *,
        compress: Callable[[bytes], bytes] | None,
        member_bytes: int = MEMBER_BYTES,
    ) -> None:
        self.state = state
        self._file = file
        self._encoder = encoder
        self._compress = compress
        self._member_bytes = member_bytes
        self._pending = bytearray()
        self._synced = state
        self._schema: pa.Schema | None = None
        if state.bytes and becomes(state.stage):
            self._schema = schema_of(file.path)

    def fits(self, schema: pa.Schema) -> bool:
        """Tell whether rows of this schema, written as the options say, can follow those before."""
        columns = self.state.columns
        if columns is None:
            return True
        alike = self.state.dialect in {"", self._encoder.dialect}
        return alike and list(columns.items()) == list(columns_of(schema).items())

    def refusal(self, path: Path, schema: pa.Schema) -> Rejected:
        """Return the error of rows that do not fit."""
        now, was = columns_of(schema), dict(self.state.columns or {})
        changed = sorted(name for name in {*now, *was} if now.get(name) != was.get(name))
        shown = [f"{n} ({was.get(n, 'absent')} -> {now.get(n, 'absent')})" for n in changed]
        what = f"the columns have changed: {', '.join(shown) or 'their order'}"
        if was == now and list(was) == list(now):
            what = f"values were written with {self.state.dialect}"
        return Rejected(
            f"{path}: {what}; write to another file or a directory, undo the change, or replay with"
            " ifExists: replace",
            code="SINK_CHANGED",
        )

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows that fit."""
        batch = plain(batch)
        if self.state.columns is None and self._encoder.fixed_columns:
            self._append(self._encoder.head(batch.schema))
            self._count(0, columns_of(batch.schema))
            if becomes(self.state.stage):
                self._schema = batch.schema
        if self._schema is not None and batch.schema != self._schema:
            batch = batch.cast(self._schema)  # text stored another way
        if batch.num_rows:
            self._append(self._encoder.rows(batch))
        self._count(batch.num_rows, self.state.columns)

    def sync(self) -> OpenPart:
        """Make all rows so far durable, ending a member, and return what would cut back here."""
        self._flush()
        self._file.sync()
        self._count(0, self.state.columns)
        self._synced = self.state
        return self.state

    def close(self) -> None:
        """Drop what was written since the last ``sync``, and release the file."""
        try:
            if self._file.length != self._synced.bytes:
                self._file.cut(self._synced.bytes)
        finally:
            self._file.close()

    def _append(self, data: bytes | memoryview) -> None:
        if self._compress is None:
            self._file.append(data)
            return
        self._pending += data
        if len(self._pending) >= self._member_bytes:
            self._flush()

    def _flush(self) -> None:
        if self._pending and self._compress:
            self._file.append(self._compress(bytes(self._pending)))
            self._pending.clear()

    def _count(self, rows: int, columns: object) -> None:
        self.state = self.state.model_copy(
            update={
                "bytes": self._file.length,
                "rows": self.state.rows + rows,
                "columns": columns,
                "dialect": self.state.dialect if self.state.columns else self._encoder.dialect,
            }
        )


class Stages:
    """The hidden files of one task, and how they become visible.

    Args:
        folder: where they wait, on the same disk as ``finals``.
        finals: where they are seen.
        prefix: what their names begin with.
        probe: dies between effects that must not swap, in tests.
        kind: what new parts hold; those of an earlier run may hold something else.
        note: of what was shown last.
    """

    def __init__(
        self, folder: Path, finals: Path, prefix: str, probe: Probe, *, kind: Format, note: Note
    ) -> None:
        self.folder = folder
        self.finals = finals
        self.note = note
        self._kind = kind
        self._prefix = prefix
        self._probe = probe

    def name(self, task: Task, final: str) -> str:
        """Return the name of a stage of this run."""
        return f"{self._prefix}{task.pipeline}.{task.index}.{task.lineage}.{task.run}.{final}"

    def create(self, task: Task, final: str, opened_at: datetime) -> tuple[GrowingFile, OpenPart]:
        """Begin the stage of a part."""
        stage = self.name(task, final) + STREAMS.get(self._kind, "")
        file = GrowingFile.create(self.folder / stage)
        self._probe("file-sink.part.created")
        return file, OpenPart(stage=stage, name=final, opened_at=opened_at)

    def finish(self, part: Part, task: Task, compression: Compression) -> FinishedPart:
        """Complete a part, still hidden. What it was made from stays until it is visible."""
        state = part.sync()
        self._probe("file-sink.finish.synced")
        part.close()
        kind = becomes(state.stage)
        if kind is None:
            return FinishedPart(
                stage=state.stage, name=state.name, bytes=state.bytes, rows=state.rows
            )
        stage = self.name(task, state.name)
        size = convert(self.folder / state.stage, self.folder / stage, kind, compression)
        with failures_of(self.folder):
            sync_path(self.folder)
        self._probe("file-sink.finish.converted")
        return FinishedPart(
            stage=stage,
            name=state.name,
            bytes=size,
            rows=state.rows,
            spent=state.stage,
            over=state.over,
        )

    def reveal(self, parts: Sequence[FinishedPart]) -> None:
        """Make decided parts visible, again if need be; by an instance that never saw them too.

        Raises:
            Corrupted: a part is neither staged nor visible, and never was.
            Unavailable: somebody else's file has its name; nothing is overwritten.
        """
        if not parts:
            return
        again = self.note.is_of(parts)
        for part in parts:
            with failures_of(self.finals / part.name):
                self._reveal(part, again=again)
            self._probe("file-sink.reveal.renamed")
        with failures_of(self.finals):
            sync_path(self.finals)
        self._probe("file-sink.reveal.synced")
        if not again:
            self.note.write(parts)
            self._probe("file-sink.reveal.noted")
        for part in parts:  # AFTER the names are durable: they are all that is left of the rows
            if part.spent:
                with failures_of(self.folder / part.spent):
                    (self.folder / part.spent).unlink(missing_ok=True)
        self._probe("file-sink.reveal.cleaned")

    def _reveal(self, part: FinishedPart, *, again: bool) -> None:
        stage, final = self.folder / part.stage, self.finals / part.name
        if stage.exists():
            if final.exists() and not part.over:
                raise Unavailable(
                    f"{final} is there, but not from this pipeline; move it away", code="STORAGE"
                )
            self._probe("file-sink.reveal.before")
            stage.replace(final)
        elif again and not final.exists():
            return  # a reader has taken it
        elif size_of(final) != part.bytes or not final.exists():
            raise Corrupted(
                f"{final}: {part.rows} decided rows are neither staged nor there; put the file"
                f" of {part.bytes} bytes back, or replay the pipeline"
            )

    def drop_older(self, task: Task, keep: frozenset[str], final: str) -> None:
        """Drop what smaller runs of this task staged; ``final`` is a pattern of their names.

        Never those of an equal or larger run: the caller may be the zombie.
        """
        begin = re.escape(f"{self._prefix}{task.pipeline}.{task.index}.")
        streams = "|".join(map(re.escape, STREAMS.values()))
        pattern = re.compile(rf"{begin}\d+\.(\d+)\.{final}(?:{streams})?")
        with failures_of(self.folder):
            for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
                found = pattern.fullmatch(path.name)
                if found and int(found[1]) < task.run and path.name not in keep:
                    path.unlink(missing_ok=True)
                    self._probe("file-sink.discard.dropped")


def becomes(stage: str) -> Format | None:
    """Return what a stage will be converted to; None where it is already as it will be seen."""
    return next((kind for kind, end in STREAMS.items() if stage.endswith(end)), None)


def stages_of(written: Written | None) -> frozenset[str]:
    """Return the names of the stages that a committable needs."""
    if written is None:
        return frozenset()
    names = {name for part in written.finished for name in (part.stage, part.spent)}
    return frozenset(names | {written.open.stage if written.open else ""})
