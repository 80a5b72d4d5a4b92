"""The ``file`` source: files one after the other, or all of them for ever where it watches."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from pathlib import Path
from threading import Lock

import pyarrow as pa

from dataflow.connect import Chunk, Context, Rejected, Source, SourceStep, Split, SplitId, Waiting
from dataflow.connect.types import parse_type, to_arrow
from dataflow.connectors.file.csv_parse import CsvParser
from dataflow.connectors.file.read_arrow import ArrowPass
from dataflow.connectors.file.read_groups import GroupPass
from dataflow.connectors.file.read_parquet import ParquetPass
from dataflow.connectors.file.read_text import Pass
from dataflow.connectors.file.source_files import File, Listing
from dataflow.connectors.file.source_head import Head, changed, read_head
from dataflow.connectors.file.source_options import (
    FORMATS,
    WRITTEN_ONCE,
    FilePinned,
    FilePosition,
    FileSourceOptions,
    Format,
    compression_of,
    format_of,
    local_path,
)
from dataflow.connectors.file.source_pin import pin, require_pinned
from dataflow.connectors.file.text_parse import TextParser
from dataflow.connectors.formats.json_parse import JsonParser
from dataflow.connectors.formats.parse import Parser

POLL_SECONDS = 1.0
"""Where the pipeline says nothing: a person watching does not wait, an idle disk does not spin."""

READING_MAX = 4
"""Files read at once while watching; each takes some 40 MiB. The others wait their turn."""


class FileSource(Source[FilePosition, FilePinned]):
    """Reads files as its options say."""

    def __init__(
        self,
        step: SourceStep,
        options: FileSourceOptions,
        context: Context,
        chunk_bytes: int | None = None,
    ) -> None:
        self.bounded = not options.watch
        self._step = step
        self._options = options
        self._connection = local_path(context.secret(step.connection_string))
        self._listing = Listing(self._connection, options, context.path)
        self._chunk_bytes = chunk_bytes
        self._poll = step.poll_interval_ms / 1000 or POLL_SECONDS
        self._pinned: FilePinned | None = None
        self._files: Mapping[SplitId, File] = {}
        self._consumed: dict[SplitId, int] = {}
        self._one_listing = Lock()
        self._turn = asyncio.Semaphore(READING_MAX)

    async def open(self, pinned: FilePinned | None) -> FilePinned | None:
        """See ``Source``: the columns and their types, from the options and the first records."""
        kind = pinned.format if pinned else await asyncio.to_thread(self._format)
        await asyncio.to_thread(self._list, kind)
        if not self._files:
            raise self._missing(self._connection)
        files = [file.path for file in self._files.values()]
        self._pinned = pinned or await asyncio.to_thread(pin, files, kind, self._options)
        return self._pinned

    async def splits(self) -> Sequence[Split]:
        """See ``Source``: a split is a file."""
        if not self.bounded:
            await asyncio.to_thread(self._list, self._known.format)
        return [Split(file.split) for file in self._files.values()]

    async def read(
        self, split: Split, start: FilePosition | None
    ) -> AsyncGenerator[Chunk[FilePosition], None]:
        """See ``Source``; while watching, until the file is deleted."""
        position = start or FilePosition()
        self._consumed[split.id] = position.consumed
        file = self._files.get(split.id)
        if file is None and self.bounded:
            raise self._missing(split.id)
        seen: tuple[int, int] | None = None
        while (file := await asyncio.to_thread(self._found, split, file, position)) is not None:
            if seen != (file.size, file.modified):
                async with self._turn, aclosing(self._pass(file, position)) as chunks:
                    async for chunk in chunks:
                        position = chunk.resume_at
                        self._consumed[split.id] = position.consumed
                        yield chunk
            if self.bounded:
                self._consumed[split.id] = file.size
                return
            seen = file.size, file.modified
            await asyncio.sleep(self._poll)

    async def latest(self, split: Split) -> FilePosition:
        """See ``Source``: after the last complete record, found without parsing any."""
        file = self._files.get(split.id)
        if file is None:
            raise self._missing(split.id)
        return await asyncio.to_thread(self._end, file)

    async def grown(self, split: Split, position: FilePosition | None) -> bool:
        """See ``Source``: lines may have been appended, but to no file that is written once."""
        file = self._files.get(split.id)
        if file is None or self._known.format in WRITTEN_ONCE:
            return False
        return file.size > (position.consumed if position is not None else 0)

    async def gone(self, split: Split, position: FilePosition) -> None:
        """See ``Source``; what was read to its end may go. An older release did not say whether."""
        if position.at_end or (not self.bounded and not position.name):
            return
        if not self.bounded:
            raise changed(position.name or split.id, position, "it was deleted with bytes unread,")
        await asyncio.to_thread(self._list, self._known.format)
        if split.id not in self._files:
            raise self._absent(
                f"{split.id}: there is no such file any more, and it is half read: put it back, or"
                " replay the pipeline from the beginning"
            )

    async def lag(self) -> tuple[int, int]:
        """See ``Source``: bytes as they are stored; how many records those are is not known."""
        files = [file for file in self._files.values() if self.is_mine(Split(file.split))]
        begun = [n for n, file in enumerate(files) if file.split in self._consumed]
        if self.bounded and begun:  # they are read in order, so those before have been
            files = files[begun[0] :]
        return -1, sum(max(0, f.size - self._consumed.get(f.split, 0)) for f in files)

    @property
    def _known(self) -> FilePinned:
        if self._pinned is None:
            raise RuntimeError("open comes before anything else")
        return self._pinned

    def _missing(self, what: str) -> Exception:
        how = "no files" if _folder(what) else "there is no such file yet"
        return self._absent(f"{what}: {how}")

    def _absent(self, message: str) -> Exception:
        if self._options.must_exist:
            return Rejected(message, field="connectionString")
        return Waiting(message)

    def _format(self) -> Format:
        """Return what the files hold; the first one's extension tells for all of a folder."""
        known = format_of(self._connection, self._options)
        if known is not None:
            return known
        files = self._listing.files(None)
        if not files:
            raise self._missing(self._connection)
        kind = format_of(files[0].path.name, self._options)
        if kind is None:
            raise Rejected(
                f"the name {files[0].path.name!r} does not tell; one of"
                f" {', '.join(dict.fromkeys(FORMATS.values()))}",
                field="options.format",
            )
        return kind

    def _list(self, kind: Format) -> None:
        with self._one_listing:
            self._files = {file.split: file for file in self._listing.files(kind)}

    def _found(self, split: Split, known: File | None, position: FilePosition) -> File | None:
        """Return where a split's file is now; None where a watched one has been deleted."""
        with self._one_listing:
            if known is None or self.bounded:
                file = known
            else:
                file = self._listing.again(known, self._known.format)
        if file is None and not self.bounded:
            self._list(self._known.format)
            file = self._files.get(split.id)
            if known is not None and file is None:
                if known.inode in self._listing.unnamed:  # cut short, or its writer is not done
                    return known
                self._require_read(known, position)
        return file

    def _require_read(self, gone: File, position: FilePosition) -> None:
        """Check that a deleted file had been read to its end."""
        stored = compression_of(gone.path.name, self._options) != "none"
        stored |= self._options.encoding != "utf-8"
        unread = gone.size - (position.consumed if stored else position.offset)
        if unread > 0 and self._known.format not in WRITTEN_ONCE:
            raise changed(gone.path, position, f"it was deleted with {unread} bytes unread,")

    async def _pass(
        self, file: File, start: FilePosition
    ) -> AsyncGenerator[Chunk[FilePosition], None]:
        head = await asyncio.to_thread(self._head, file)
        if self._known.format in WRITTEN_ONCE:
            await asyncio.to_thread(require_pinned, file.path, self._known)
            rows = self._groups(file, head, start).chunks()
        else:
            text = self._text(file, head, start)
            if text is None:
                return
            rows = text.chunks(await asyncio.to_thread(text.blocks))
        async with aclosing(rows) as chunks:
            async for chunk in chunks:
                yield chunk

    def _head(self, file: File) -> Head:
        try:
            return read_head(file.path, self._known.format, self._options)
        except Waiting as waiting:
            if self._options.must_exist:
                raise Rejected(waiting.message) from None
            raise

    def _text(self, file: File, head: Head, start: FilePosition) -> Pass | None:
        """Return a pass over a file of text; None where it has no record yet, nor a header."""
        parser = self._parser(file.path, head)
        if parser is None:
            if start.offset:
                raise changed(file.path, start, "it has been truncated")
            return None
        chunk_bytes = self._chunk_bytes or parser.pace.chunk_bytes
        batch_rows = self._step.batch_size
        return Pass(file.path, head, start, parser, self._options, batch_rows, chunk_bytes)

    def _parser(self, path: Path, head: Head) -> Parser | None:
        columns = self._known.columns
        if self._known.format == "text":
            return TextParser(columns[0].name)
        schema = pa.schema([(c.name, to_arrow(parse_type(c.type))) for c in columns])
        closed = self._options.other_columns != "drop"
        if self._known.format == "json":
            return JsonParser(schema, closed=closed)
        if not self._options.has_header:
            return CsvParser(self._options.columns or schema.names, schema, self._options)
        if not head.names:
            return None
        _require_columns(path, head.names, schema.names, closed=closed)
        return CsvParser(head.names, schema, self._options)

    def _groups(self, file: File, head: Head, start: FilePosition) -> GroupPass:
        kind = ArrowPass if self._known.format == "arrow" else ParquetPass
        return kind(file.path, head, start, self._step.batch_size)

    def _end(self, file: File) -> FilePosition:
        head = self._head(file)
        if self._known.format in WRITTEN_ONCE:
            return self._groups(file, head, FilePosition()).end()
        text = self._text(file, head, FilePosition())
        if text is None:
            return FilePosition()
        blocks = text.blocks()
        try:
            return text.end(blocks)
        finally:
            blocks.stream.close()


def open_source(step: SourceStep, options: FileSourceOptions, context: Context) -> FileSource:
    """Return the source of a step."""
    return FileSource(step, options, context)


def _folder(path: str) -> bool:
    return Path(path).is_dir() or any(letter in path for letter in "*?[")


def _require_columns(
    path: Path, names: Sequence[str], pinned: Sequence[str], *, closed: bool
) -> None:
    missing = [name for name in pinned if name not in names]
    additional = [name for name in names if name not in pinned] if closed else []
    if missing or additional:
        parts = [("lacks", missing), ("has in addition", additional)]
        what = " and ".join(f"{verb} {', '.join(map(repr, ns))}" for verb, ns in parts if ns)
        raise Rejected(
            f"{path}: its header {what}; the columns of this source are"
            f" {', '.join(map(repr, pinned))}",
            code="SOURCE_CHANGED",
        )
