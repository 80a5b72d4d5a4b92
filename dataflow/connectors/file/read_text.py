"""Files of records as text: csv, json lines and lines, from an offset on, in chunks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from dataflow.connect import Chunk
from dataflow.connect.batches import empty
from dataflow.connectors.file.scan import RECORD_BYTES_MAX, Block, Blocks
from dataflow.connectors.file.source_ahead import ahead
from dataflow.connectors.file.source_head import Head, changed, digest, escaped
from dataflow.connectors.file.source_options import (
    FilePosition,
    FileSourceOptions,
    Lacks,
    compression_of,
)
from dataflow.connectors.file.source_stream import Stream, open_stream
from dataflow.connectors.formats.parse import Bad, Parsed, Parser, parse, rejected, shown

_ADDED_TO: Mapping[Lacks, str] = {
    "line feed": "its last line, which had no line feed, has been added to",
    "end": "its last record, which had no end, has been added to",
}


@dataclass(frozen=True, slots=True)
class Pass:
    """One reading of a file, from a position to its end as it is now."""

    path: Path
    head: Head
    start: FilePosition
    parser: Parser
    options: FileSourceOptions
    batch_rows: int
    chunk_bytes: int

    def blocks(self) -> Blocks:
        """Open the file where the position is.

        Raises:
            Waiting: it is not there.
            Rejected: it is not the file that the position was taken in, or its last record then
                has been added to.
            Unavailable: it cannot be read at the moment.
        """
        stream = open_stream(
            self.path, compression_of(self.path.name, self.options), self.options.encoding
        )
        try:
            self._forward(stream)
            partial = not self.options.watch
            blocks = Blocks(stream, self.parser.lines, partial, self.chunk_bytes)
            if self.start.lacks:
                self._behind_last(blocks)
        except BaseException:
            stream.close()
            raise
        return blocks

    async def chunks(self, blocks: Blocks) -> AsyncGenerator[Chunk[FilePosition], None]:
        """Yield what the blocks hold."""
        skip = self.start.skip
        consumed = self.start.consumed
        reading = ahead(iter(blocks), self._parsed, blocks.stream.close, self.parser.pace.at_once)
        async with aclosing(reading) as parsed:
            async for block, records in parsed:
                for chunk in self._slices(block, records, skip, block.consumed - consumed):
                    yield chunk
                skip = max(0, skip - records.records)
                consumed = block.consumed

    def _forward(self, stream: Stream) -> None:
        self.head.require_same(self.path, self.start)
        if not stream.skip_to(max(self.start.offset, self.head.body)):
            raise changed(self.path, self.start, "it has been truncated")

    def _behind_last(self, blocks: Blocks) -> None:
        """Go on behind a record that ended with the file: its line break is no record of its own.

        Where there is nothing yet, nothing is read: more might come while this looks.
        """
        more = blocks.read(len(b"\r\n"))
        by_break = self.start.lacks == "line feed"
        end = self.parser.lines.break_end(more, 0) if by_break else 0
        if not more or (more == b"\r" and by_break):
            blocks.ended = True
        elif end and not more[:end].strip(b"\r\n"):
            blocks.rest = more[end:]
        else:
            raise changed(self.path, self.start, _ADDED_TO[self.start.lacks])

    def _parsed(self, block: Block) -> Parsed:
        if not block.too_long:
            return parse(self.parser, block.data, last=block.last)
        error = (
            f"longer than {RECORD_BYTES_MAX >> 20} MiB: bytes {block.start} to {block.end} of"
            f" {self.path}; the record shows its beginning"
        )
        return Parsed(empty(self.parser.schema), [Bad(0, shown(block.data), error)])

    def _slices(
        self, block: Block, parsed: Parsed, skip: int, bytes_read: int
    ) -> Iterator[Chunk[FilePosition]]:
        """Yield the records of a block after ``skip``, ``batch_rows`` at a time."""
        rows = self.batch_rows or parsed.records
        bad_at = [bad.index for bad in parsed.bad]
        for begin in range(skip, parsed.records, max(rows, 1)):
            end = min(begin + rows, parsed.records)
            bad = parsed.bad[bisect_left(bad_at, begin) : bisect_left(bad_at, end)]
            first = begin - bisect_left(bad_at, begin)
            yield Chunk(
                batch=parsed.batch.slice(first, end - begin - len(bad)),
                resume_at=self._position(block, end if end < parsed.records else 0),
                rejected=rejected(bad, begin) if bad else None,
                bytes_read=bytes_read if begin == skip else 0,
            )

    def _position(self, block: Block, skip: int) -> FilePosition:
        return self.start.model_copy(
            update={
                "offset": block.start if skip else block.end,
                "skip": skip,
                "head": self.start.head or digest(self.head.data),
                "head_bytes": self.start.head_bytes or len(self.head.data),
                "consumed": block.consumed,
                "lacks": "" if skip else block.lacks,
                "at_end": block.at_end and not skip,
                "name": escaped(self.path.name),
            }
        )

    def end(self, blocks: Blocks) -> FilePosition:
        """Return the position after the last complete record, without parsing any."""
        last = None
        for block in blocks:
            last = block
        if last is None:
            last = Block(b"", blocks.stream.offset, blocks.stream.offset, blocks.stream.stored())
        return self._position(last, 0)
