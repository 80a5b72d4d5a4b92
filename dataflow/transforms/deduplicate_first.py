"""``deduplicate``: the first row of each key passes; ``deduplicate_last`` has the other way."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dataflow.connect import Context, Operator, Output, Via
from dataflow.connect.batches import type_name
from dataflow.connect.operator import NOTHING
from dataflow.connect.transform import MAIN
from dataflow.transforms.bounds import Bound, ForEver, Recent, Within
from dataflow.transforms.deduplicate_spec import DUPLICATES, DeduplicateOptions
from dataflow.transforms.event_time import EventTime
from dataflow.transforms.hashing import Hashed, hashed
from dataflow.transforms.keys import Slots
from dataflow.transforms.moments import NEVER, Moments
from dataflow.transforms.remembered import Remembered, same_types
from dataflow.transforms.saved import Saved, columns
from dataflow.transforms.timed import timed

_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Arrived(NamedTuple):
    """The rows of a batch that can be handled, their keys and times, and those that cannot."""

    rows: pa.RecordBatch
    keys: Hashed
    moments: Moments | None
    rejected: pa.RecordBatch | None


class Deduplicate(Operator):
    """What both ways share: keys, a bound on what is remembered, and time."""

    def __init__(self, options: DeduplicateOptions, context: Context, inputs: int) -> None:
        self._options = options
        self._clock = context.clock
        self._inputs = inputs
        self._ended: set[str] = set()
        idle = options.idle_timeout
        self._time = EventTime(
            options.out_of_order // _MICROSECOND,
            idle.total_seconds() if idle else None,
            context.clock.steady,
        )
        self._types: list[str] = []
        self._told: Mapping[str, Any] | None = None
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._remembered = Remembered(_bound(self._options))
        self._whole_is_due = True

    def splits(self, input_name: str, splits: Sequence[str], *, idles: bool) -> None:
        """Wait for the event time of these splits."""
        self._time.splits(input_name, splits, idles=idles)

    def split_ended(self, via: Via) -> Output:
        """Wait for it no longer."""
        self._time.ended(via.input, via.split)
        return self._advance()

    def input_begins(self, input_name: str) -> Output:
        """Take its rows as more of the same."""
        self._ended.discard(input_name)
        return NOTHING

    @property
    def state_bytes(self) -> int:
        """Return the bytes of the keys."""
        return self._remembered.nbytes

    def _arrived(self, batch: pa.RecordBatch) -> Arrived:
        types = [
            type_name(batch.schema.field(key).type)
            for key in self._options.keys
            if key in batch.schema.names
        ]
        moments, rejected = None, None
        column = self._options.time_column
        if column is not None:
            batch, moments, rejected = timed(batch, column, "options.timeColumn")
        elif isinstance(self._remembered.bound, Within):
            self._take_time()
            moments = np.full(batch.num_rows, self._remembered.bound.now)
        keys = hashed(batch, self._options.keys)
        self._types = same_types(self._types, types)
        return Arrived(batch, keys, moments, rejected)

    def _take_time(self) -> None:
        """Let the time of arrival go on; it never goes back, whatever the clock does."""
        bound = self._remembered.bound
        if isinstance(bound, Within) and self._options.time_column is None:
            bound.now = max(bound.now, (self._clock.now() - _EPOCH) // _MICROSECOND)

    def _saw(self, via: Via, moments: Moments | None) -> None:
        if self._options.time_column is not None and moments is not None and len(moments):
            self._time.saw(via.input, via.split, int(moments.max()))

    def _advance(self) -> Output:
        """Let time go on to where it is; returns what is due then."""
        bound = self._remembered.bound
        if isinstance(bound, Within) and self._options.time_column is not None:
            bound.now = self._time.advance()
        return self._due()

    @abstractmethod
    def _due(self) -> Output:
        """Do what is due now."""

    # --- what is kept ------------------------------------------------------------------------

    def changes(self, *, whole: bool) -> bytes | None:
        """Return the keys that have changed, or all."""
        whole = whole or self._whole_is_due
        facts = self._facts()
        mask = ~self._remembered.over() if whole else self._remembered.untold
        slots = self._in_order(np.flatnonzero(mask))
        if not len(slots) and (facts == self._told if not whole else self._told is None):
            return None
        bits = self._remembered.keys.hashes(slots)
        bound = self._remembered.bound
        batches = {
            "keys": columns(high=bits.high, low=bits.low, since=bound.since[slots]),
            **self._held_batches(slots),
        }
        self._remembered.told()
        self._whole_is_due = False
        self._told = facts
        return Saved({**facts, "whole": whole}, batches).to_bytes()

    def _facts(self) -> Mapping[str, Any]:
        bound = self._remembered.bound
        return {
            "types": self._types,
            "seen": self._time.saved,
            "watermark": self._time.watermark,
            "now": bound.now if isinstance(bound, Within) else NEVER,
            "begun": bound.begun if isinstance(bound, Recent) else 0,
        }

    def _in_order(self, slots: Slots) -> Slots:
        return slots

    def _held_batches(self, slots: Slots) -> Mapping[str, pa.RecordBatch]:  # noqa: ARG002 - none here
        return {}

    def restore(self, parts: Sequence[bytes]) -> None:
        """Take up keys, and where time was."""
        facts: Mapping[str, Any] = {}
        for part in parts:
            saved = Saved.from_bytes(part)
            facts = saved.facts
            if facts["whole"]:
                self._begin_anew()
            keys = saved.batches["keys"]
            high, low, since = (keys[name].to_numpy() for name in ("high", "low", "since"))
            slots = self._remembered.add(Hashed(high, low, None))
            self._remembered.bound.since[slots] = since
            self._restore_held(slots, saved.batches)
        bound = self._remembered.bound
        if isinstance(bound, Within):
            bound.now = facts["now"]
        if isinstance(bound, Recent):
            bound.begun = facts["begun"]
        self._types = facts["types"]
        self._time.restore(facts["seen"], facts["watermark"])
        self._whole_is_due = False
        self._told = self._facts()

    def _restore_held(self, slots: Slots, batches: Mapping[str, pa.RecordBatch]) -> None:
        pass


class FirstPasses(Deduplicate):
    """Lets a row pass where its key is not remembered."""

    keeps_splits = True

    def apply(self, batch: pa.RecordBatch, via: Via) -> Output:
        """Pass on the rows that begin something new."""
        rows, keys, moments, rejected = self._arrived(batch)
        _, begin = self._remembered.begins(keys, moments)
        self._saw(via, moments)
        self._advance()
        if begin.all():
            return Output({MAIN: rows}, rejected)
        passed, others = rows.filter(pa.array(begin)), rows.filter(pa.array(~begin))
        return Output({MAIN: passed, DUPLICATES: others}, rejected)

    def _due(self) -> Output:
        if self._remembered.is_crowded:
            self._remembered.keep(~self._remembered.over())
        return NOTHING


def _bound(options: DeduplicateOptions) -> Bound:
    if options.within is not None:
        return Within(options.within // _MICROSECOND)
    return Recent(options.count) if options.count is not None else ForEver()
