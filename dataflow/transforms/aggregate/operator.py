"""The ``aggregate`` step: rows go into groups, and groups that are complete come out as rows.

A batch is judged by the mark that stood before it, and moves the mark behind it: so what is late
does not depend on the order of rows within a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from dataflow.connect import Context, Operator, Output, Rejected, TransformStep, Via
from dataflow.connect.operator import NOTHING
from dataflow.connect.transform import MAIN
from dataflow.transforms.aggregate.early import Early
from dataflow.transforms.aggregate.intake import Columns, Intake, Taken
from dataflow.transforms.aggregate.memory import Memory
from dataflow.transforms.aggregate.moments import NO_TIMES, Moments, Times, micros
from dataflow.transforms.aggregate.options import LATE, AggregateOptions
from dataflow.transforms.aggregate.results import Results
from dataflow.transforms.aggregate.saved import Head, Saved, read, schema_from, schema_text, written
from dataflow.transforms.aggregate.windows import END, TIME
from dataflow.transforms.binding import Faults, first_of, refused
from dataflow.transforms.event_time import NEVER, EventTime

Mask = npt.NDArray[np.bool_]

LOOK_BYTES = 1 << 24
"""Of a state that is looked through for sessions each second: it takes some 50 ms. A larger one is
as often only while event time stands still, so that nothing waits for rows that do not come."""


def open_aggregate(step: TransformStep, options: AggregateOptions, context: Context) -> Aggregate:
    """Return the operator of one step."""
    return Aggregate(options, max(1, len(step.inputs)), context)


class Aggregate(Operator):
    """Keeps partial aggregates (``Memory``) and gives those of closed windows (``Results``)."""

    def __init__(self, options: AggregateOptions, inputs: int, context: Context) -> None:
        self._options, self._inputs = options, inputs
        self._columns = Columns(options)
        window = options.window
        self._lateness = 0 if window is None else micros(window.allowed_lateness)
        idle = None if window is None else window.idle_timeout
        self._time = EventTime(
            0 if window is None else micros(window.out_of_order),
            None if idle is None else idle.total_seconds(),
            context.clock.steady,
        )
        self._moments = None if window is None else Moments(window, context.clock.now)
        self._intake: Intake | None = None
        self._epoch = 0
        self._ended: set[str] = set()
        self._told: Head | None = None
        self._columns_text = ""
        self._rest: Iterator[pa.RecordBatch] = iter(())
        self._rest_bytes = 0
        self._forget()
        self._early = None
        if options.early_interval is not None:
            self._early = Early(options.early_interval, context.clock.steady)
        self._ticked = NEVER
        looks = window is not None and (idle is not None or window.gap is not None)
        self.ticks = looks or self._early is not None

    def _forget(self) -> None:
        self._memory = Memory(self._options, self._columns)
        self._results = Results(
            self._options, self._columns, self._memory.sketches, self._memory.windows
        )

    def splits(self, input_name: str, splits: Sequence[str], *, idles: bool) -> None:
        """Wait for these splits with event time."""
        self._time.splits(input_name, splits, idles=idles)

    def apply(self, batch: pa.RecordBatch, via: Via) -> Output:
        """Take rows into their groups; give those of windows that have closed by it.

        Raises:
            Rejected: the options do not go with these columns; the message lists them.
        """
        intake = self._bound(batch.schema)
        if not batch.num_rows:
            return NOTHING
        taken = intake.take(batch)
        times, faults = self._times(taken, via)
        bad = first_of(faults) if faults else None
        fit = _others(batch.num_rows, bad)
        late = self._memory.windows.late(times)
        if late is not None:
            late &= fit
        kept = fit if late is None else fit & ~late
        rows = self._add(taken, times, kept)
        if times.size and fit.any():
            self._time.saw(via.input, via.split, int(times[fit].max()))
        self._advance(surely=False)
        made = next(self._rest, None)
        batches = {} if made is None else {MAIN: made}
        if late is not None and late.any():
            batches[LATE] = batch.filter(pa.array(late))
        return Output(
            batches=batches,
            rejected=refused(batch, bad.rows, bad.messages) if bad is not None else None,
            produced=made.num_rows if made is not None else 0,
            absorbed=rows,
        )

    def rest(self) -> Output | None:
        """Return more of the results that the call before gave."""
        made = next(self._rest, None)
        if made is None:
            self._rest, self._rest_bytes = iter(()), 0
            return None
        return Output(batches={MAIN: made}, produced=made.num_rows)

    def split_ended(self, via: Via) -> Output:
        """Wait for a split no longer."""
        self._time.ended(via.input, via.split)
        self._advance(surely=True)
        return self.rest() or NOTHING

    def input_begins(self, input_name: str) -> Output:
        """Give what the last run of the only input came to, and begin anew."""
        if self._inputs > 1 or self._intake is None:
            return NOTHING
        self._close_all()
        self._time.restart()
        self._forget()
        self._ended.discard(input_name)
        return self.rest() or NOTHING

    def input_ended(self, input_name: str) -> Output:
        """Close everything behind the last input."""
        self._ended.add(input_name)
        if len(self._ended) < self._inputs:
            return NOTHING
        self._close_all()
        return self.rest() or NOTHING

    def tick(self, now: datetime) -> Output:  # noqa: ARG002 - the time of day may jump
        """Let splits idle; give results as they stand, where they are wanted early."""
        stands = self._time.advance() == self._ticked
        self._ticked = self._time.watermark
        self._advance(surely=stands or self._memory.bytes < LOOK_BYTES)
        if self._early is not None and self._early.due():
            self._show()
        return self.rest() or NOTHING

    @property
    def state_bytes(self) -> int:
        """The memory of groups, of rows that wait to be grouped, and of results on their way."""
        return self._memory.bytes + self._rest_bytes

    def changes(self, *, whole: bool) -> bytes | None:
        """Return the groups of the rows taken since the last call, or all groups."""
        frames = self._memory.tell(whole=whole)
        head = self._head()
        if head is None or (not whole and head == self._told):
            return None
        self._told = head
        return written(Saved(head, frames))

    def restore(self, parts: Sequence[bytes]) -> None:
        """Take up groups, and forget those of windows that had closed.

        Raises:
            Corrupted: a part cannot be read.
            Rejected: the state is of other columns than the options ask for.
        """
        saved = [read(part) for part in parts]
        head = saved[-1].head
        self._bound(schema_from(head.columns))
        self._epoch, self._ended = head.epoch, set(head.ended)
        self._time.restore(head.seen, head.watermark)
        for part in saved:
            if part.head.epoch == head.epoch:
                self._memory.restore(part.frames)
        self._memory.resume(head.rows, head.closed)
        self._told = self._head()

    def _bound(self, schema: pa.Schema) -> Intake:
        if self._intake is None or not self._intake.schema.equals(schema):
            bound = Intake(self._options, self._columns, schema)
            before = self._intake
            if before is not None and (bound.held, bound.made) != (before.held, before.made):
                raise Rejected(
                    f"the columns have other types than the rows before: {dict(bound.made)},"
                    f" not {dict(before.made)}; cast them in a map, or replay from the beginning",
                    code="SOURCE_CHANGED",
                )
            self._intake, self._columns_text = bound, schema_text(schema)
        return self._intake

    def _times(self, taken: Taken, via: Via) -> tuple[Times, Sequence[Faults]]:
        if self._moments is None or taken.times is None:
            return NO_TIMES, taken.faults
        times, faults = self._moments.read(taken.times, self._time.latest(via.split))
        return times, [*taken.faults, *faults]

    def _add(self, taken: Taken, times: Times, kept: Mask) -> int:
        """Take up the rows that are kept; return how many."""
        columns = dict(taken.columns)
        if times.size:
            columns[TIME] = pa.array(times)
        rows = pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))
        if not kept.all():
            rows = rows.filter(pa.array(kept))
        if rows.num_rows:
            self._memory.add(rows)
            if times.size:
                self._memory.windows.note(int(times[kept].min()))
        return rows.num_rows

    def _advance(self, *, surely: bool) -> None:
        """Close the windows that event time has passed."""
        if self._moments is None:
            return
        watermark = self._time.advance()
        if watermark != NEVER:
            self._close(watermark - self._lateness, surely=surely)

    def _close(self, mark: int, *, surely: bool) -> None:
        memory = self._memory
        if memory.windows.reached(mark, surely=surely):
            memory.group()
            if memory.tables[0].frames:
                self._give(memory.windows.close(memory.tables, mark), final=True)

    def _close_all(self) -> None:
        memory = self._memory
        memory.group()
        one = not self._options.group_by and self._moments is None
        if one and not memory.rows and self._intake is not None:
            memory.add_nothing(self._intake.held)
        self._close(END, surely=True)
        self._epoch += 1

    def _show(self) -> None:
        """Give the groups that have changed as they stand."""
        memory = self._memory
        memory.group()
        changed = memory.changed()
        if changed is not None:
            main, *others = memory.windows.open(memory.tables)
            seen = main.join(changed, on=changed.columns, how="semi", nulls_equal=True)
            self._give([seen, *others], final=False)

    def _give(self, groups: Sequence[pl.DataFrame], *, final: bool) -> None:
        if self._intake is not None and groups[0].height:
            rows = self._results.ordered(groups)
            self._rest_bytes += int(rows.estimated_size())
            made = self._results.batches(rows, self._intake, final=final)
            self._rest = chain(self._rest, made)

    def _head(self) -> Head | None:
        if self._intake is None:
            return None
        return Head(
            epoch=self._epoch,
            columns=self._columns_text,
            rows=self._memory.rows,
            watermark=self._time.watermark,
            seen=self._time.saved,
            closed=self._memory.windows.saved,
            ended=sorted(self._ended),
        )


def _others(rows: int, bad: Faults | None) -> Mask:
    """Return which rows are not at fault."""
    fit = np.ones(rows, np.bool_)
    if bad is not None:
        fit[bad.rows.to_numpy(zero_copy_only=False)] = False
    return fit
