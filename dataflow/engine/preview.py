"""The first records of a source through every step: no sink is opened and no position moves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TypeVar, cast

import pyarrow as pa

from dataflow.connect import Context, OnError, Position
from dataflow.connect.expressions import listing
from dataflow.connect.gathering import size_of
from dataflow.connect.transform import ORDINAL
from dataflow.core.checkpoint import Checkpoint
from dataflow.core.clock import Clock
from dataflow.core.errors import Code, Rejected, Unavailable
from dataflow.core.graph import Feed
from dataflow.core.ids import PipelineId, SplitId
from dataflow.engine.channel import Channel
from dataflow.engine.failure import StepFailed, first_of
from dataflow.engine.flow import Flow, FlowItem
from dataflow.engine.ingest import columns
from dataflow.engine.ingest.parse import rows_of
from dataflow.engine.items import BarrierItem, Item, Rows, SourceEnded, SplitEnded, SplitsListed
from dataflow.engine.json_rows import json_rows
from dataflow.engine.order import waits
from dataflow.engine.passed import Passed
from dataflow.engine.plan import Plan
from dataflow.engine.reader import Reader, count_up
from dataflow.engine.records import DeadLetter, Given, PreviewStep
from dataflow.engine.rejects import SHOWN, Rejects
from dataflow.engine.steps import Input, make_input, make_steps
from dataflow.engine.surroundings import Contexts

T = TypeVar("T")

NOTHING_GIVEN: Given = {}

PATIENCE_S = 10.0
"""How long a preview waits for records that may never come; then it shows what there is."""


async def preview(
    plan: Plan, contexts: Contexts, clock: Clock, records_max: int, *, given: Given = NOTHING_GIVEN
) -> Sequence[PreviewStep]:
    """Return what each step makes of the first records; one it cannot handle is shown with why.

    Sources are read as if they ended there: a step that answers at the end shows its answer. One
    for which records are ``given`` is not opened, and all of these are taken.

    Raises:
        Waiting: what a source reads is not there.
        Rejected: it cannot be read, or a step cannot handle its rows at all; or records are given
            to no source, or do not fit.
    """
    rows = await _given(plan, given)
    pipeline = PipelineId("preview")

    def previewing(pipeline: PipelineId, step: str) -> Context:
        return replace(contexts(pipeline, step), previews=True)

    steps = _made(lambda: make_steps(plan, pipeline, previewing))
    try:
        for step in steps:
            step.rejects = Rejects(step.name, OnError.DEAD_LETTER)
        seen = Seen(plan, records_max)
        flow = Flow(plan.graph, steps, clock, seen.note)
        order = _made(lambda: waits(plan.graph, steps))
        made = _made(
            lambda: [
                make_input(plan, each, previewing(pipeline, each.name)) for each in plan.sources
            ]
        )
        for source in sorted(made, key=lambda each: len(order[each.name])):
            lenient = replace(source, rejects=Rejects(source.name, OnError.DEAD_LETTER))
            read = rows.get(source.name)
            if read is None:
                read = await _opened(lenient, clock, records_max)
            for item in _items(source.name, read):
                await _go(partial(flow.take, item))
                seen.account(flow.passed)
                while flow.has_more:
                    await _go(flow.more)
                    seen.account(flow.passed)
    finally:
        for step in steps:
            await asyncio.to_thread(step.transform.close)
    return seen.steps()


async def _go(on: Callable[[], object]) -> None:
    try:
        await asyncio.to_thread(on)
    except StepFailed as error:
        failed = error
    else:
        return
    with _saying(failed.step):
        raise failed.__cause__ or failed


class Seen:
    """Gathers what comes out of each output of each step."""

    def __init__(self, plan: Plan, records_max: int) -> None:
        self._records_max = records_max
        self._outputs = [Feed(name) for name in plan.graph.sources]
        for planned in plan.transforms:
            names = planned.spec.outputs(planned.options)
            self._outputs += [Feed(planned.name, output) for output in names]
        self._batches: dict[Feed, list[pa.RecordBatch]] = {}
        self._passed: dict[str, Passed] = {}

    def note(self, step: str, output: str, batch: pa.RecordBatch) -> None:
        """Take what comes out of one output."""
        self._batches.setdefault(Feed(step, output), []).append(batch)

    def account(self, passed: Mapping[str, Passed]) -> None:
        """Take what each step did with an item."""
        for name, done in passed.items():
            before = self._passed.setdefault(name, Passed())
            before.plus(done)

    def steps(self) -> Sequence[PreviewStep]:
        """Return what is shown, in the order of the graph; nothing if nothing could be read."""
        return [self._step(feed) for feed in self._outputs] if self._batches else []

    def _step(self, feed: Feed) -> PreviewStep:
        batches = self._batches.get(feed, [])
        shown: list[pa.RecordBatch] = []
        for batch in batches:
            visible = [name for name in batch.schema.names if name != ORDINAL]
            room = self._records_max - sum(each.num_rows for each in shown)
            shown.append(batch.select(visible).slice(0, room))
        passed = self._passed.get(feed.step, Passed())
        dead = [batch.select(list(SHOWN)) for batch in passed.dead]
        letters = [DeadLetter(**row) for batch in dead for row in batch.to_pylist()]
        return PreviewStep(
            step=str(feed),
            columns=[(f.name, str(f.type)) for f in shown[0].schema] if shown else [],
            records=[str(text) for batch in shown for text in json_rows(batch).to_pylist()],
            filtered=passed.filtered,
            rejected=letters,
            records_in=passed.read or passed.taken,
            records_out=passed.out.get(feed.output, 0),
            records_produced=passed.produced,
            records_absorbed=passed.absorbed,
        )


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


async def _given(plan: Plan, given: Given) -> Mapping[str, Sequence[Rows]]:
    """Return given records as what sources have read.

    Raises:
        Rejected: there is no such source, or a record does not fit what the source declares.
    """
    found = {}
    for name, each in given.items():
        if name not in plan.graph.sources:
            sources = listing(plan.graph.sources)
            raise Rejected(f"there is no such source, but {sources}", field=f"given.{name}")
        lines = "\n".join(each.records).encode()
        schema = columns.agreed(plan.columns.get(name, {}), None)
        try:
            batch = await asyncio.to_thread(rows_of, "application/x-ndjson", lines, schema)
        except columns.Misfit as misfit:
            field = f"given.{name}.{misfit.where}"
            raise Rejected(misfit.message, code=Code.RECORD_REJECTED, field=field) from misfit
        rows = batch.num_rows
        batch = batch.append_column(ORDINAL, count_up(0, rows))
        size = size_of(batch)
        found[name] = [Rows(name, SplitId("given"), batch, Position(), rows, size, size)]
    return found


async def _opened(source: Input, clock: Clock, records_max: int) -> Sequence[Rows]:
    """Read until there are enough records, the source ends, or patience does."""
    try:
        with _saying(source.name):
            await source.source.open(None)
            return await _first(source, clock, records_max)
    finally:
        await source.source.close()


def _items(source: str, rows: Sequence[Rows]) -> Sequence[FlowItem]:
    splits = list(dict.fromkeys(each.split for each in rows))
    begun = SplitsListed(source, splits, idles=False)
    ended = [SplitEnded(source, split) for split in splits]
    return [begun, *rows, *ended, SourceEnded(source)]


async def _first(source: Input, clock: Clock, records_max: int) -> Sequence[Rows]:
    channel: Channel[Item] = Channel(batches_max=1)
    reader = Reader(source, Checkpoint(), channel, clock)
    gathered: list[Rows] = []
    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(_read(reader, channel))
        gathering = tasks.create_task(_gather(channel, gathered, records_max))
        await asyncio.wait({gathering}, timeout=PATIENCE_S)
        reading.cancel()
        gathering.cancel()
    left = records_max
    for rows in gathered:
        rows.batch = rows.batch.slice(0, left)
        rows.read = rows.batch.num_rows + sum(letters.num_rows for letters in rows.dead)
        left -= rows.batch.num_rows
    return gathered


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
