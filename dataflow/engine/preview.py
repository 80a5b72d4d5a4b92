"""The first records of a source through every step: no sink is opened and no position moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar, cast

import pyarrow as pa

from dataflow.connect import Context, OnError, Operator, Via
from dataflow.connect.transform import MAIN, ORDINAL
from dataflow.core.checkpoint import Checkpoint
from dataflow.core.clock import Clock
from dataflow.core.errors import Rejected, Unavailable
from dataflow.core.ids import PipelineId
from dataflow.engine.channel import Channel
from dataflow.engine.failure import StepFailed, first_of
from dataflow.engine.items import BarrierItem, Item, Rows
from dataflow.engine.json_rows import json_rows
from dataflow.engine.plan import Plan
from dataflow.engine.reader import Reader
from dataflow.engine.records import DeadLetter, PreviewStep
from dataflow.engine.rejects import Rejects
from dataflow.engine.steps import Input, make_input, make_steps
from dataflow.engine.surroundings import Contexts

T = TypeVar("T")

PATIENCE_S = 10.0
"""How long a preview waits for records that may never come; then it shows what there is."""


async def preview(
    plan: Plan, contexts: Contexts, clock: Clock, records_max: int
) -> Sequence[PreviewStep]:
    """Return what each step makes of the first records; one it cannot handle is shown with why.

    Raises:
        Waiting: what the source reads is not there.
        Rejected: it cannot be read, or a step cannot handle its rows at all.
    """
    pipeline = PipelineId("preview")

    def previewing(pipeline: PipelineId, step: str) -> Context:
        return replace(contexts(pipeline, step), previews=True)

    source = _made(lambda: make_input(plan, pipeline, previewing))
    source = Input(
        name=source.name,
        source=source.source,
        position=source.position,
        pinned=source.pinned,
        rejects=Rejects(source.name, OnError.DEAD_LETTER),
        poll_interval_s=source.poll_interval_s,
    )
    try:
        with _saying(source.name):
            await source.source.open(None)
            rows = await _first(source, clock, records_max)
    finally:
        await source.source.close()
    if rows is None:
        return []
    shown = [_shown(source.name, rows, 0)]
    for step in _made(lambda: make_steps(plan, pipeline, contexts)):
        rows.dead.clear()
        with _saying(step.name):
            if isinstance(step.transform, Operator):
                via = Via("", rows.split)
                output = await asyncio.to_thread(step.transform.apply, rows.batch, via)
            else:
                output = await asyncio.to_thread(step.transform.apply, rows.batch)
        rows.batch = output.batches.get(MAIN, rows.batch.slice(0, 0))
        if output.rejected is not None:
            kept = Rejects(step.name, OnError.DEAD_LETTER)
            kept.unhandled(rows, output.rejected, clock.now())
        shown.append(_shown(step.name, rows, output.filtered))
    return shown


def _made(make: Callable[[], T]) -> T:
    """Return what is made of a plan; an error as others of a preview, which say whose it was."""
    try:
        return make()
    except StepFailed as error:
        failed = error
    with _saying(failed.step):
        raise failed.__cause__ or failed


@contextmanager
def _saying(step: str) -> Iterator[None]:
    """Say of an error whose it was; it goes to whoever asked for the preview."""
    try:
        yield
    except* Rejected as group:
        error = cast("Rejected", first_of(group))  # except* lets no other through
        field = f"{step}.{error.field}" if error.field else step
        raise Rejected(error.message, code=error.code, field=field) from error
    except* Unavailable as group:
        raise first_of(group) from group


async def _first(source: Input, clock: Clock, records_max: int) -> Rows | None:
    """Read until there are enough records, the source ends, or patience does."""
    channel: Channel[Item] = Channel(batches_max=1)
    reader = Reader(source, Checkpoint(), channel, clock)
    gathered: list[Rows] = []
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(_read(reader, channel))
        gathering = tasks.create_task(_gather(channel, gathered, records_max))
        await asyncio.wait({gathering}, timeout=PATIENCE_S)
        reading.cancel()
        gathering.cancel()
    if not gathered:
        return None
    table = pa.Table.from_batches([rows.batch for rows in gathered])
    first = gathered[0]
    first.dead = [batch for rows in gathered for batch in rows.dead]
    batches = table.slice(0, records_max).combine_chunks().to_batches()
    first.batch = batches[0] if batches else first.batch.slice(0, 0)
    return first


async def _read(reader: Reader, channel: Channel[Item]) -> None:
    await reader.read(lambda: None)
    channel.put_now(BarrierItem(0, final=True))


async def _gather(channel: Channel[Item], gathered: list[Rows], records_max: int) -> None:
    while sum(rows.read for rows in gathered) < records_max:
        item = await channel.get()
        if isinstance(item, Rows):
            gathered.append(item)
        elif isinstance(item, BarrierItem):
            return


def _shown(step: str, rows: Rows, filtered: int) -> PreviewStep:
    visible = [name for name in rows.batch.schema.names if name != ORDINAL]
    batch = rows.batch.select(visible)
    letters = [DeadLetter(**row) for dead in rows.dead for row in dead.to_pylist()]
    return PreviewStep(
        step=step,
        columns=[(field.name, str(field.type)) for field in batch.schema],
        records=[str(text) for text in json_rows(batch).to_pylist()],
        filtered=filtered,
        rejected=letters,
    )
