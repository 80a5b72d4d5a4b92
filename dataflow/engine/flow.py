"""The middle stage: one item through every transform of the graph, in a thread.

Each item goes through the whole graph before the next one: a barrier between two items lies
between them everywhere, so that states, positions and outputs agree without being aligned. Steps
take their turns in the order of the graph, each all that the item has brought it so far.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from dataflow.connect import Operator, Output, Rejected, Via
from dataflow.connect.gathering import size_of
from dataflow.connect.transform import MAIN
from dataflow.core.clock import Clock
from dataflow.core.errors import Code
from dataflow.core.events import ErrorType
from dataflow.core.graph import Feed, Graph
from dataflow.core.ids import SplitId
from dataflow.engine.accounts import Accounts, ledger_of
from dataflow.engine.failure import blaming
from dataflow.engine.items import (
    Delivery,
    Replayed,
    RoundBegins,
    Rows,
    SourceEnded,
    SplitEnded,
    SplitsListed,
    Tick,
)
from dataflow.engine.passage import (
    Batch,
    Begun,
    BegunAnew,
    Brought,
    Ended,
    Event,
    Finished,
    Passage,
    Taken,
    Ways,
)
from dataflow.engine.passed import Passed
from dataflow.engine.rejects import Refused
from dataflow.engine.steps import Step

if TYPE_CHECKING:
    import pyarrow as pa


FlowItem: TypeAlias = Rows | Replayed | SplitsListed | SplitEnded | RoundBegins | SourceEnded | Tick
Handled: TypeAlias = "tuple[SplitId, Sequence[Event]]"
"""The split of what came of an event, and what is told behind it."""

Seen: TypeAlias = "Callable[[str, str, pa.RecordBatch], None]"


def _unseen(_step: str, _output: str, _batch: pa.RecordBatch) -> None:
    """Look at nothing."""


class Flow:
    """The transforms of a graph; calls never overlap."""

    def __init__(
        self, graph: Graph, steps: Sequence[Step], clock: Clock, seen: Seen = _unseen
    ) -> None:
        """``seen`` is shown all that comes out of each output of each step."""
        self._seen = seen
        self._steps = steps
        self._sinks = tuple(graph.sinks)
        self._clock = clock
        self._accounts = Accounts(graph)
        self._readers: dict[Feed, list[tuple[str, str]]] = {}
        for name, feeds in graph.feeds.items():
            for feed in feeds:
                self._readers.setdefault(feed, []).append((name, str(feed)))
        self._ways = {
            step.name: Ways({str(f): set() for f in step.feeds}, {str(f) for f in step.feeds})
            for step in steps
        }
        self._is_straight = self.is_empty and seen is _unseen
        self._follows = any(isinstance(step.transform, Operator) for step in steps)
        self.ticks = any(isinstance(s.transform, Operator) and s.transform.ticks for s in steps)
        self._way: Generator[Passage, None, Passage] | None = None
        self.at = ""
        """The step that is working, or was the last to; whoever waits in vain blames it."""
        self.passed: Mapping[str, Passed] = {}
        """What each step did with the last item."""

    @property
    def is_empty(self) -> bool:
        """Tell whether rows come out as they go in."""
        return not self._steps

    @property
    def follows(self) -> bool:
        """Tell whether any step wants to know of more than rows."""
        return self._follows

    def take(self, item: FlowItem) -> Sequence[tuple[str, Delivery]]:
        """Take an item through all steps; returns what comes out at each sink.

        There is more to come while ``has_more``: what one item makes may be larger than memory.

        Raises:
            StepFailed: a step cannot handle it.
        """
        if self._is_straight and isinstance(item, Rows):
            delivery = Delivery([(item.split, item.batch)], ledger_of(item), item.size)
            return [(sink, delivery) for sink, _ in self._readers.get(Feed(item.source), ())]
        passage = Passage()
        self._enter(item, passage)
        now = item.now if isinstance(item, Tick) else None
        self._way = self._walk(passage, 0, now)
        return self.more()

    @property
    def has_more(self) -> bool:
        """Tell whether the last item has not gone all the way."""
        return self._way is not None

    def more(self) -> Sequence[tuple[str, Delivery]]:
        """Go on with the last item; returns as ``take``."""
        began_s = self._clock.steady()
        if self._way is None:
            raise Rejected("the item has gone all the way", code=Code.INTERNAL)
        try:
            passage = next(self._way)
        except StopIteration as end:
            passage, self._way = end.value, None
        self.passed, brought = passage.leave(self._sinks)
        took_s = self._clock.steady() - began_s
        return [(sink, self._delivery(sink, brought, took_s)) for sink in self._sinks]

    def _walk(
        self, passage: Passage, begin: int, now: datetime | None
    ) -> Generator[Passage, None, Passage]:
        """Let each step from one on take its turn; yields where sinks have to take theirs first."""
        for index in range(begin, len(self._steps)):
            step = self._steps[index]
            waiting = passage.waiting.pop(step.name, ())
            calls = [partial(self._handle, step, name, event) for name, event in waiting]
            if now is not None:
                calls.insert(0, partial(self._tick, step, now))
            for call in calls:
                with blaming(ErrorType.TRANSFORM, step.name):
                    self.at = step.name
                    split, news = call(passage)
                while (more := self._rest(step)) is not None:
                    yield (yield from self._walk(passage, index + 1, None))
                    with blaming(ErrorType.TRANSFORM, step.name):
                        self._note(step, Taken(split), more, passage)
                for output in step.outputs if news else ():
                    self._pass(step.name, news, passage, output)
        return passage

    def _rest(self, step: Step) -> Output | None:
        if not isinstance(step.transform, Operator):
            return None
        self.at = step.name
        with blaming(ErrorType.TRANSFORM, step.name):
            return step.transform.rest()

    # --- into the graph --------------------------------------------------------------------------

    def _enter(self, item: FlowItem, passage: Passage) -> None:
        match item:
            case Rows():
                source = passage.of(item.source)
                source.read = item.read
                source.refused(Refused(item.skipped))
                source.dead += item.dead
                source.out[MAIN] = item.batch.num_rows
                self._seen(item.source, MAIN, item.batch)
                self._pass(item.source, [Batch(item.split, item.batch)], passage)
            case Replayed():
                own = item.input or item.step in self._sinks
                entered = [(item.step, item.input)] if own else self._readers[Feed(item.step)]
                passage.enter_again(item, entered, self._ways)
            case SplitsListed():
                self._pass(item.source, [Begun(item.splits, item.idles)], passage)
            case SplitEnded():
                self._pass(item.source, [Ended(item.split)], passage)
            case RoundBegins():
                self._pass(item.source, [BegunAnew()], passage)
            case SourceEnded():
                self._pass(item.source, [Finished()], passage)
            case Tick():
                pass  # No source has anything to say to it.

    def _pass(
        self, step: str, events: Iterable[Event], passage: Passage, output: str = MAIN
    ) -> None:
        """Bring events to all who read an output."""
        for reader, name in self._readers.get(Feed(step, output), ()):
            passage.waiting.setdefault(reader, []).extend((name, event) for event in events)

    # --- through a step: each returns the split of what comes out, and what is told behind it ----

    def _handle(self, step: Step, name: str, event: Event, passage: Passage) -> Handled:
        match event:
            case Batch():
                return self._apply(step, name, event, passage)
            case Begun():
                return self._begin(step, name, event)
            case Ended():
                return self._end_split(step, name, event, passage)
            case BegunAnew():
                return self._begin_anew(step, name, passage)
            case Finished():
                return self._finish(step, name, passage)

    def _apply(self, step: Step, name: str, batch: Batch, passage: Passage) -> Handled:
        if isinstance(step.transform, Operator):
            output = step.transform.apply(batch.rows, Via(name, batch.split))
        else:
            output = step.transform.apply(batch.rows)
        self._note(step, Taken(batch.split, batch.rows.num_rows, name), output, passage)
        return batch.split, ()

    def _begin(self, step: Step, name: str, begun: Begun) -> Handled:
        ways, own = self._ways[step.name], SplitId(step.name)
        ways.open[name] = set(begun.splits)
        ways.idles = begun.idles
        if isinstance(step.transform, Operator):
            step.transform.splits(name, begun.splits, idles=begun.idles)
        news = [] if ways.begun else [Begun([own], begun.idles)]
        ways.begun = True
        if step.keeps_splits:
            news = [Begun(sorted(set().union(*ways.open.values())), begun.idles)]
        return own, news

    def _end_split(self, step: Step, name: str, ended: Ended, passage: Passage) -> Handled:
        ways = self._ways[step.name]
        ways.open[name].discard(ended.split)
        if isinstance(step.transform, Operator):
            output = step.transform.split_ended(Via(name, ended.split))
            self._note(step, Taken(ended.split, input=name), output, passage)
        still_open = any(ended.split in splits for splits in ways.open.values())
        return ended.split, [ended] if step.keeps_splits and not still_open else []

    def _begin_anew(self, step: Step, name: str, passage: Passage) -> Handled:
        ways, own = self._ways[step.name], SplitId(step.name)
        had_ended = not ways.unfinished
        ways.unfinished.add(name)
        if isinstance(step.transform, Operator):
            self._note(step, Taken(own), step.transform.input_begins(name), passage)
        if not had_ended:
            return own, []
        return own, [BegunAnew()] if step.keeps_splits else [BegunAnew(), Begun([own], idles=False)]

    def _finish(self, step: Step, name: str, passage: Passage) -> Handled:
        ways, own = self._ways[step.name], SplitId(step.name)
        ways.unfinished.discard(name)
        if isinstance(step.transform, Operator):
            self._note(step, Taken(own, input=name), step.transform.input_ended(name), passage)
        if ways.unfinished:
            return own, []
        return own, [Finished()] if step.keeps_splits else [Ended(own), Finished()]

    def _tick(self, step: Step, now: datetime, passage: Passage) -> Handled:
        own = SplitId(step.name)
        if isinstance(step.transform, Operator) and step.transform.ticks:
            self._note(step, Taken(own), step.transform.tick(now), passage)
        return own, ()

    # --- out of a step ---------------------------------------------------------------------------

    def _note(self, step: Step, taken: Taken, output: Output, passage: Passage) -> None:
        """Account for what came of some rows, and bring them on."""
        refused = Refused()
        if output.rejected is not None:
            now = self._clock.now()
            refused = step.rejects.unhandled(taken.split, output.rejected, now, taken.input)
        passage.of(step.name).add(taken.rows, output, refused)
        of = taken.split if step.keeps_splits else SplitId(step.name)
        for name, rows in output.batches.items():
            if name not in step.outputs:
                raise Rejected(f"has no output {name!r}, yet rows for it", code=Code.INTERNAL)
            numbered = step.numbered(rows)
            self._seen(step.name, name, numbered)
            self._pass(step.name, [Batch(of, numbered)], passage, name)
        step.check_state()

    def _delivery(self, sink: str, brought: Brought, took_s: float) -> Delivery:
        events = brought.get(sink, ())
        batches = [(event.split, event.rows) for _, event in events if isinstance(event, Batch)]
        ledger = self._accounts.ledger(sink, self.passed)
        size = sum(size_of(rows) for _, rows in batches)
        return Delivery(batches, ledger, size, took_s if sink == self._sinks[0] else 0.0)
