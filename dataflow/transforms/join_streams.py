"""Two streams joined: rows with the same keys whose times are no further apart than ``within``.

Each row is kept until event time of the other stream has passed it by ``within``: no partner can
come then, unless it is late. A late row meets the rows that are still kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dataflow.connect import Context, Operator, Output, Via
from dataflow.connect.operator import NOTHING
from dataflow.connect.transform import MAIN
from dataflow.transforms.event_time import EventTime
from dataflow.transforms.hashing import Mask, hashed
from dataflow.transforms.join_side import Keyed, Ranges, Side
from dataflow.transforms.join_spec import JoinOptions
from dataflow.transforms.joined import Joined, Numbers, in_slices, pairs, plain
from dataflow.transforms.keys import KeyIndex, Slots
from dataflow.transforms.moments import ALWAYS, Moments, moments_of
from dataflow.transforms.saved import Saved, columns
from dataflow.transforms.slices import Slices
from dataflow.transforms.timed import timed

_MICROSECOND = timedelta(microseconds=1)
_SPARED = 1 << 16
"""Keys that may be in vain before they are dropped."""


class Stream:
    """One of the two: its options, its rows, and where its event time is."""

    def __init__(self, options: JoinOptions, context: Context, name: str, *, is_left: bool) -> None:
        self.name = name
        self.is_left = is_left
        self.keys = options.left_keys if is_left else options.right_keys
        time = options.left_time if is_left else options.right_time
        self.time_option = "options.leftTime" if is_left else "options.rightTime"
        self.time_column = time or ""
        self.gives_alone = options.type in (
            {"left", "full", "anti"} if is_left else {"right", "full"}
        )
        self.is_matched = self.gives_alone or (is_left and options.type == "semi")
        self.side = Side()
        self.ended = False
        self.told_id = 0
        self.untold_matches: list[Numbers] = []
        idle = options.idle_timeout
        self.time = EventTime(
            options.out_of_order // _MICROSECOND,
            idle.total_seconds() if idle else None,
            context.clock.steady,
        )

    def watermark(self) -> int:
        """Return the moment before which no more rows are awaited."""
        return ALWAYS if self.ended else self.time.advance()


class Asked(NamedTuple):
    """Rows of a batch, what they are looked up by, and which of them have a partner."""

    rows: pa.RecordBatch
    slots: Slots
    moments: Moments
    has: Mask


class JoinStreams(Operator):
    """Looks each batch up among the rows of the other stream, and keeps it for those to come."""

    ticks = True

    def __init__(self, options: JoinOptions, context: Context, left: str, right: str) -> None:
        self._type = options.type
        assert options.within is not None  # noqa: S101 - or it were a join with a table
        self._within = options.within // _MICROSECOND
        self._options, self._context = options, context
        self._names = left, right
        self._joined = Joined(options)
        self._slices = Slices()
        self._was_told: Mapping[str, Any] | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        left, right = self._names
        self._streams = (
            Stream(self._options, self._context, left, is_left=True),
            Stream(self._options, self._context, right, is_left=False),
        )
        self._index = KeyIndex()

    @property
    def state_bytes(self) -> int:
        """Return the bytes of rows and keys."""
        return self._index.nbytes + sum(stream.side.nbytes for stream in self._streams)

    def _two(self, name: str) -> tuple[Stream, Stream]:
        left, right = self._streams
        return (left, right) if name == left.name else (right, left)

    # --- what is told --------------------------------------------------------------------------

    def splits(self, input_name: str, splits: Sequence[str], *, idles: bool) -> None:
        """Wait for the event time of these splits."""
        self._two(input_name)[0].time.splits(input_name, splits, idles=idles)

    def split_ended(self, via: Via) -> Output:
        """Wait for it no longer."""
        self._two(via.input)[0].time.ended(via.input, via.split)
        return self._produced(self._over())

    def input_begins(self, input_name: str) -> Output:
        """Take rows of any time again."""
        mine, other = self._two(input_name)
        if mine.ended:
            mine.ended = False
            mine.time.restart()
            other.side.begin_again()
        return NOTHING

    def input_ended(self, input_name: str) -> Output:
        """Wait for no partner from here."""
        self._two(input_name)[0].ended = True
        return self._produced(self._over())

    def tick(self, now: datetime) -> Output:  # noqa: ARG002 - splits that idle are found by the clock
        """Go on where splits idle."""
        return self._produced(self._over())

    def rest(self) -> Output | None:
        """Return more of what the last call gives."""
        return self._slices.rest()

    def _produced(self, pieces: Iterator[pa.RecordBatch]) -> Output:
        made = self._slices.begin(pieces)
        return NOTHING if made is None else Output({MAIN: made}, produced=made.num_rows)

    # --- rows ----------------------------------------------------------------------------------

    def apply(self, batch: pa.RecordBatch, via: Via) -> Output:
        """Give the pairs of a batch, and keep its rows."""
        mine, other = self._two(via.input)
        usable, moments, rejected = timed(batch, mine.time_column, mine.time_option)
        rows = plain(usable)
        self._joined.saw(**{"left" if mine.is_left else "right": rows.schema})
        slots = self._slots(rows, mine)
        found = [*other.side.find(slots, moments - self._within, moments + self._within)]
        has = np.zeros(rows.num_rows, bool)
        for ranges in found:
            has[ranges.rows] = True
        asked = Asked(rows, slots, moments, has)
        if len(moments):
            mine.time.saw(via.input, via.split, int(moments.max()))
        stays = self._keep(asked, mine)
        output = self._produced(self._answer(asked, mine, found, stays))
        return Output(output.batches, rejected, produced=output.produced, absorbed=rows.num_rows)

    def _slots(self, rows: pa.RecordBatch, mine: Stream) -> Slots:
        keys = hashed(rows, mine.keys)
        if keys.whole is None:
            return self._index.add(keys)
        slots = np.full(rows.num_rows, -1, np.int64)
        slots[keys.whole] = self._index.add(keys.take(keys.whole))
        return slots

    def _keep(self, asked: Asked, mine: Stream) -> Mask:
        """Keep the rows that may find a partner, or another one; returns which."""
        # a row without a key waits too: until then the columns of the other side may not be known
        stays: Mask = (asked.slots >= 0) | mine.gives_alone
        stays &= asked.moments >= mine.side.threshold
        if mine.is_left and self._type in {"semi", "anti"}:
            stays &= ~asked.has
        kept = asked.rows if stays.all() else asked.rows.filter(pa.array(stays))
        mine.side.add(kept, asked.slots[stays], asked.moments[stays], asked.has[stays])
        return stays

    def _answer(
        self, asked: Asked, mine: Stream, found: Sequence[Ranges], stays: Mask
    ) -> Iterator[pa.RecordBatch]:
        if self._type not in {"semi", "anti"}:
            yield from self._pairs(asked.rows, mine, found)
        elif not mine.is_left:
            yield from self._first_matches(found)
        elif self._type == "semi":
            yield asked.rows.filter(pa.array(asked.has))
        if mine.gives_alone:
            alone = asked.rows.filter(pa.array(~stays & ~asked.has))
            if alone.num_rows:
                yield self._beside(mine, alone, None)
        yield from self._over()

    def _pairs(
        self, rows: pa.RecordBatch, mine: Stream, found: Sequence[Ranges]
    ) -> Iterator[pa.RecordBatch]:
        _, other = self._two(mine.name)
        for ranges in found:
            for of, places in pairs(ranges.begins, ranges.counts):
                numbers = ranges.run.numbers[places]
                if other.is_matched:
                    other.untold_matches.append(other.side.ids(other.side.match(numbers)))
                asking = rows.take(pa.array(ranges.rows[of], pa.int64()))
                yield self._beside(mine, asking, other.side.rows.take(numbers))

    def _first_matches(self, found: Sequence[Ranges]) -> Iterator[pa.RecordBatch]:
        """Yield the rows of the left that have found their first partner."""
        left, _ = self._streams
        for ranges in found:
            for _, places in pairs(ranges.begins, ranges.counts):
                new = left.side.match(ranges.run.numbers[places])
                left.untold_matches.append(left.side.ids(new))
                if self._type == "semi" and len(new):
                    yield left.side.rows.take(new)

    def _over(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows that have waited in vain; drop what nobody can ask for."""
        left, right = self._streams
        for mine, other in ((left, right), (right, left)):
            alone = mine.side.pass_by(other.watermark() - self._within)
            if mine.gives_alone:
                for numbers in in_slices(alone):
                    yield self._beside(mine, mine.side.rows.take(numbers), None)
            mine.side.drop()
        if len(self._index) > 2 * (len(left.side) + len(right.side)) + _SPARED:
            used = np.zeros(len(self._index) + 1, bool)
            for stream in self._streams:
                stream.side.drop(always=True)
                used[stream.side.slots] = True
            used = used[:-1]
            self._index.keep(used)
            for stream in self._streams:
                stream.side.renumber(np.cumsum(used) - 1)

    def _beside(
        self, mine: Stream, rows: pa.RecordBatch, others: pa.RecordBatch | None
    ) -> pa.RecordBatch:
        left, right = (rows, others) if mine.is_left else (others, rows)
        return self._joined.rows(left, right)

    # --- what is kept --------------------------------------------------------------------------

    def changes(self, *, whole: bool) -> bytes | None:
        """Return the rows that came, and those that have found a partner."""
        batches = self._joined.changes(whole=whole)
        for at, stream in enumerate(self._streams):
            rows, ids, matched = stream.side.since(0 if whole else stream.told_id)
            if rows is not None and (len(ids) or whole):
                batches[f"rows {at}"] = rows
                batches[f"ids {at}"] = columns(id=ids, matched=matched)
            if stream.untold_matches and not whole:
                batches[f"matches {at}"] = columns(id=np.concatenate(stream.untold_matches))
        facts = self._facts()
        if not batches and (facts == self._was_told if not whole else self._was_told is None):
            return None
        for stream in self._streams:
            stream.told_id, stream.untold_matches = stream.side.next_id, []
        self._was_told = facts
        return Saved({**facts, "whole": whole}, batches).to_bytes()

    def _facts(self) -> Mapping[str, Any]:
        return {
            "ended": [stream.ended for stream in self._streams],
            "seen": [stream.time.saved for stream in self._streams],
            "watermarks": [stream.time.watermark for stream in self._streams],
            "thresholds": [stream.side.threshold for stream in self._streams],
        }

    def restore(self, parts: Sequence[bytes]) -> None:
        """Take up rows, and where time was."""
        facts: Mapping[str, Any] = {}
        for part in parts:
            saved = Saved.from_bytes(part)
            facts = saved.facts
            if facts["whole"]:
                self._begin_anew()
            self._joined.restore(saved.batches)
            for at, stream in enumerate(self._streams):
                self._restore_rows(stream, at, saved.batches)
        for at, stream in enumerate(self._streams):
            stream.ended = facts["ended"][at]
            stream.time.restore(facts["seen"][at], facts["watermarks"][at])
            stream.side.threshold = facts["thresholds"][at]
            stream.told_id = stream.side.next_id
        self._was_told = self._facts()

    def _restore_rows(self, stream: Stream, at: int, batches: Mapping[str, pa.RecordBatch]) -> None:
        rows = batches.get(f"rows {at}")
        if rows is not None:
            moments, _ = moments_of(rows, stream.time_column, stream.time_option)
            ids = batches[f"ids {at}"]
            matched = ids["matched"].to_numpy(zero_copy_only=False)
            keyed = Keyed(self._slots(rows, stream), moments)
            stream.side.restore(rows, keyed, ids["id"].to_numpy(), matched)
        if f"matches {at}" in batches:
            stream.side.match(stream.side.numbers(batches[f"matches {at}"]["id"].to_numpy()))
