"""A stream joined with a table: the table is read first, and kept until it is read again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dataflow.connect import Context, Operator, Output, Via
from dataflow.connect.operator import NOTHING
from dataflow.connect.transform import MAIN
from dataflow.transforms.hashing import hashed
from dataflow.transforms.join_spec import JoinOptions
from dataflow.transforms.joined import Joined, Numbers, in_slices, pairs, plain, taken
from dataflow.transforms.kept_rows import KeptRows
from dataflow.transforms.keys import KeyIndex, Slots
from dataflow.transforms.saved import Saved, columns
from dataflow.transforms.slices import Slices

_OTHER = {"left": "right", "right": "left"}


class Table:
    """Rows by their keys; several may have one key."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = keys
        self._index = KeyIndex()
        self.rows = KeptRows()
        self._slots: list[Slots] = []
        self._order: Numbers | None = None
        self._begins = self._counts = np.zeros(0, np.int64)

    @property
    def nbytes(self) -> int:
        """Return the bytes that it takes."""
        return self._index.nbytes + self.rows.nbytes + 32 * len(self.rows)

    def add(self, batch: pa.RecordBatch) -> None:
        """Take rows; those with a NULL in their keys have no partner."""
        keys = hashed(batch, self._keys)
        slots = np.full(batch.num_rows, -1, np.int64)
        if keys.whole is None:
            slots[:] = self._index.add(keys)
        else:
            slots[keys.whole] = self._index.add(keys.take(keys.whole))
        self.rows.add(batch)
        self._slots.append(slots)
        self._order = None

    def ranges(self, batch: pa.RecordBatch, keys: Sequence[str]) -> tuple[Numbers, Numbers]:
        """Return for each row where its partners begin among those in order, and how many."""
        if self._order is None:
            self._sort()
        asked = hashed(batch, keys)
        slots = self._index.find(asked)
        if asked.whole is not None:
            slots[~asked.whole] = -1
        # a key that is not there is the last slot, of no rows
        return self._begins[slots], self._counts[slots]

    def at(self, places: Numbers) -> Numbers:
        """Return the numbers of the rows at some places in order."""
        assert self._order is not None  # noqa: S101 - ranges has sorted
        return self._order[places]

    def _sort(self) -> None:
        self.rows.settle()
        slots = np.concatenate(self._slots) if self._slots else np.zeros(0, np.int64)
        self._slots = [slots]
        self._order = np.argsort(slots, kind="stable")
        unkeyed = np.count_nonzero(slots < 0)
        self._counts = np.append(np.bincount(slots[slots >= 0], minlength=len(self._index)), 0)
        self._begins = unkeyed + np.cumsum(self._counts) - self._counts


class JoinTable(Operator):
    """Answers each batch of the stream at once."""

    def __init__(self, options: JoinOptions, context: Context, left: str, right: str) -> None:  # noqa: ARG002 - no clock here
        self._type = options.type
        self._options = options
        self._side = options.table or "right"
        self._table_input, self._stream_input = (left, right)[:: 1 if self._side == "left" else -1]
        self.first = (self._table_input,)
        sides = {"left": options.left_keys, "right": options.right_keys}
        self._table_keys = sides[self._side]
        self._stream_keys = sides[_OTHER[self._side]]
        self._joined = Joined(options)
        self._slices = Slices()
        self._keeps_stream = options.type in {_OTHER[self._side], "full"}
        self._keeps_table = options.type in {self._side, "full"}
        self._begin_anew()
        self._whole_is_due = False

    def _begin_anew(self) -> None:
        self._table = Table(self._table_keys)
        self._matched = np.zeros(0, bool)
        self._untold_matches: list[Numbers] = []
        self._told_rows = 0
        self._finished = self._told_finished = False
        self._whole_is_due = True

    @property
    def state_bytes(self) -> int:
        """Return the bytes of the table."""
        return self._table.nbytes + self._matched.nbytes

    def input_begins(self, input_name: str) -> Output:
        """Read the table anew; or give the stream to the same table once more."""
        if input_name == self._table_input:
            self._begin_anew()
        elif self._finished:
            self._matched[:] = False
            self._finished, self._whole_is_due = False, True
        return NOTHING

    def apply(self, batch: pa.RecordBatch, via: Via) -> Output:
        """Keep rows of the table; join those of the stream."""
        rows = plain(batch)
        if via.input == self._table_input:
            self._take(rows)
            return Output(absorbed=rows.num_rows)
        self._saw(self._stream_input, rows.schema)
        begins, counts = self._table.ranges(rows, self._stream_keys)
        if self._type in {"semi", "anti"}:
            passed = rows.filter(pa.array((counts > 0) == (self._type == "semi")))
            return Output({MAIN: passed}, filtered=rows.num_rows - passed.num_rows)
        alone = 0 if self._keeps_stream else int(np.count_nonzero(counts == 0))
        first = self._slices.begin(self._pairs(rows, begins, counts))
        out = first.num_rows if first is not None else 0
        stay = rows.num_rows - alone
        return Output(
            {MAIN: first} if first is not None else {},
            filtered=alone,
            produced=max(0, out - stay),
            absorbed=max(0, stay - out),
        )

    def rest(self) -> Output | None:
        """Return more pairs."""
        return self._slices.rest()

    def input_ended(self, input_name: str) -> Output:
        """Give the rows of the table that had no partner, behind the last row of the stream."""
        if input_name == self._table_input or not self._keeps_table or self._finished:
            return NOTHING
        self._finished = True
        alone = np.flatnonzero(~self._matched)
        first = self._slices.begin(
            self._beside(None, self._table.rows.take(numbers)) for numbers in in_slices(alone)
        )
        return NOTHING if first is None else Output({MAIN: first}, produced=first.num_rows)

    def _take(self, rows: pa.RecordBatch) -> None:
        if self._type in {"semi", "anti"}:
            rows = rows.select(list(self._table_keys))
        self._saw(self._table_input, rows.schema)
        self._table.add(rows)
        if self._keeps_table:
            room = np.zeros(rows.num_rows, bool)
            self._matched = np.concatenate([self._matched, room])

    def _saw(self, input_name: str, schema: pa.Schema) -> None:
        is_left = (input_name == self._table_input) == (self._side == "left")
        if is_left:
            self._joined.saw(left=schema)
        else:
            self._joined.saw(right=schema)

    def _pairs(
        self, rows: pa.RecordBatch, begins: Numbers, counts: Numbers
    ) -> Iterator[pa.RecordBatch]:
        asked = np.maximum(counts, 1) if self._keeps_stream else counts
        for of, places in pairs(begins, asked):
            there = counts[of] > 0
            stream = taken(rows, of)
            if there.all():
                numbers = self._table.at(places)
                self._match(numbers)
                yield self._beside(stream, self._table.rows.take(numbers))
            elif not there.any():
                yield self._beside(stream, None)
            else:
                numbers = self._table.at(places[there])
                self._match(numbers)
                among = pa.array(np.cumsum(there) - 1, mask=~there)
                yield self._beside(stream, self._table.rows.take(numbers).take(among))

    def _match(self, numbers: Numbers) -> None:
        if self._keeps_table:
            new = np.unique(numbers[~self._matched[numbers]])
            self._matched[new] = True
            self._untold_matches.append(new)

    def _beside(
        self, stream: pa.RecordBatch | None, table: pa.RecordBatch | None
    ) -> pa.RecordBatch:
        left, right = (table, stream) if self._side == "left" else (stream, table)
        return self._joined.rows(left, right)

    # --- what is kept ------------------------------------------------------------------------

    def changes(self, *, whole: bool) -> bytes | None:
        """Return the rows of the table that came, and which rows have met a partner."""
        whole = whole or self._whole_is_due
        told = 0 if whole else self._told_rows
        rows = np.arange(told, len(self._table.rows))
        matches = np.concatenate([*self._untold_matches, np.zeros(0, np.int64)])
        if whole:
            matches = np.flatnonzero(self._matched)
        finished = self._finished != self._told_finished
        shapes = self._joined.changes(whole=whole)
        is_new = len(rows) or len(matches) or finished or self._whole_is_due or shapes
        if not is_new and (not whole or self._table.rows.schema is None):
            return None
        batches = {"matched": columns(number=matches), **shapes}
        if self._table.rows.schema is not None and (len(rows) or whole):
            batches["rows"] = self._table.rows.take(rows)
        self._told_rows = len(self._table.rows)
        self._untold_matches = []
        self._told_finished = self._finished
        self._whole_is_due = False
        return Saved({"whole": whole, "finished": self._finished}, batches).to_bytes()

    def restore(self, parts: Sequence[bytes]) -> None:
        """Take up the table."""
        facts: Any = {}
        for part in parts:
            saved = Saved.from_bytes(part)
            facts = saved.facts
            if facts["whole"]:
                self._begin_anew()
            self._joined.restore(saved.batches)
            if "rows" in saved.batches:
                self._take(saved.batches["rows"])
            if self._keeps_table:
                self._matched[saved.batches["matched"]["number"].to_numpy()] = True
        self._finished = self._told_finished = facts["finished"]
        self._told_rows = len(self._table.rows)
        self._whole_is_due = False
