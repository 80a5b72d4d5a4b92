"""``push``: records from a file or a pipe into a pipeline whose source is ``push``."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

import click

from dataflow.cli import printing
from dataflow.cli.options import Settings, shared
from dataflow.cli.session import run
from dataflow.core.errors import Code, DataFlowError, Rejected

if TYPE_CHECKING:
    from dataflow.client import Batch, DataFlow
    from dataflow.client.records import Format

T = TypeVar("T")

AHEAD = 2
"""Batches that are read before they are wanted, so that reading and sending overlap."""

FORMATS = ("ndjson", "json", "arrow")
BY_EXTENSION = {".json": "json", ".arrow": "arrow", ".arrows": "arrow", ".ipc": "arrow"}


@dataclass
class Pushed:
    """What is durable so far."""

    batch_id: str
    records: int = 0
    batches: int = 0
    duplicates: int = 0

    def __str__(self) -> str:
        again = f" ({self.duplicates} of them had been pushed before)" if self.duplicates else ""
        return (
            f"{printing.count(self.records)} records in {printing.count(self.batches)}"
            f" batches{again}"
        )


@click.command()
@click.argument("pipeline_id", metavar="ID")
@click.option("-f", "--file", "path", default="-", metavar="FILE|-", help="Where the records are.")
@click.option(
    "--format",
    "file_format",
    type=click.Choice(FORMATS),
    help="By default as the file's name says, else ndjson.",
)
@click.option(
    "--batch-records",
    type=click.IntRange(1, 1_000_000),
    default=10_000,
    show_default=True,
    help="Records a batch at most; a batch is never above 1 MiB.",
)
@click.option(
    "--batch-id",
    metavar="PREFIX",
    help="Names the batches: pushing the same file with the same prefix again adds nothing.",
)
@shared
@click.pass_obj
def push(
    settings: Settings,
    *,
    pipeline_id: str,
    path: str,
    file_format: str | None,
    batch_records: int,
    batch_id: str | None,
) -> None:
    """Push records to the pipeline with ID; each batch is durable when it is counted."""
    chosen = cast("Format", file_format or BY_EXTENSION.get(Path(path).suffix, "ndjson"))

    async def ask(df: DataFlow) -> Pushed:
        pushed = Pushed(batch_id or df.new_id())
        with _opened(path) as file, _progress() as progress:
            batches = _batches(file, chosen, batch_records, pushed.batch_id)
            try:
                async for answer in df.push_many(pipeline_id, batches):
                    pushed.records += answer.records
                    pushed.batches += 1
                    pushed.duplicates += answer.duplicate
                    if progress is not None:
                        progress.update(f"pushed {pushed}")
            except DataFlowError as error:
                if pushed.batches:
                    error.add_note(
                        f"{pushed} are durable; push the same again with --batch-id"
                        f" {pushed.batch_id}: what is there is not added twice"
                    )
                raise
        if not pushed.batches:
            await _require_push(df, pipeline_id)  # the server was asked nothing yet
        return pushed

    pushed = run(settings, ask)
    if settings.for_people:
        click.echo(f"{pipeline_id}: pushed {pushed}")
    else:
        printing.show(settings.output, {"pipelineId": pipeline_id, **_document(pushed)})


async def _require_push(df: DataFlow, pipeline_id: str) -> None:
    """Refuse to push to a pipeline that takes no records; raises ``Rejected``."""
    shown = await df.get(pipeline_id)
    source = shown.source.source_type
    if source not in {"", "push"}:
        raise Rejected(
            f"the source of {pipeline_id!r} is {source}, which takes no batches",
            code=Code.FORBIDDEN_TRANSITION,
        )


def _document(pushed: Pushed) -> printing.Document:
    return {
        "batchId": pushed.batch_id,
        "records": pushed.records,
        "batches": pushed.batches,
        "duplicates": pushed.duplicates,
    }


async def _batches(
    file: BinaryIO, chosen: Format, batch_records: int, prefix: str
) -> AsyncIterator[Batch]:
    """Yield the batches of a file, with the ids that their order gives them."""
    from dataflow.client import Batch  # noqa: PLC0415 - gRPC is not needed for --help
    from dataflow.client.records import read_batches  # noqa: PLC0415 - as above

    number = 0
    async for part in _aside(read_batches(file, chosen, records_max=batch_records)):
        records, content_type, _ = part
        yield Batch(records, content_type, f"{prefix}-{number:08}")
        number += 1


async def _aside(parts: Iterator[T]) -> AsyncIterator[T]:
    """Yield what a blocking iterator yields, a few parts ahead.

    It is read by a daemon thread and not by the loop's own executor: a pipe that rests must
    neither stall the answers, nor keep a command alive that was refused or interrupted.
    """
    import asyncio  # noqa: PLC0415 - as in session

    loop = asyncio.get_running_loop()
    ready: asyncio.Queue[tuple[T] | Exception | None] = asyncio.Queue()
    room = threading.Semaphore(AHEAD)

    def read() -> None:
        end: Exception | None = None
        try:
            for part in parts:
                room.acquire()
                loop.call_soon_threadsafe(ready.put_nowait, (part,))
        except Exception as error:  # noqa: BLE001 - raised again by the reader below
            end = error
        with suppress(RuntimeError):  # the loop is closed: nobody reads any more
            loop.call_soon_threadsafe(ready.put_nowait, end)

    threading.Thread(target=read, name="records", daemon=True).start()
    while (found := await ready.get()) is not None:
        if isinstance(found, Exception):
            raise found
        room.release()
        yield found[0]


def _opened(path: str) -> AbstractContextManager[BinaryIO]:
    if path == "-":
        # A reader of its own: Python aborts at exit if a thread still waits in sys.stdin's.
        return nullcontext(open(sys.stdin.fileno(), "rb", closefd=False))
    try:
        return Path(path).open("rb")
    except OSError as error:
        raise click.FileError(path, error.strerror) from None


def _progress() -> AbstractContextManager[Any]:
    """Return a line that changes in place; nothing where nobody looks."""
    if not sys.stderr.isatty():
        return nullcontext()
    return printing.console(stderr=True).status("pushing")
