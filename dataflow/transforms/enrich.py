"""``enrich``: adds to each row what a lookup knows of its key.

A batch asks once for each key that is not known, or was too long ago; so the lookup is asked in
batches, and rows are put together in whole columns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dataflow.connect import (
    Answer,
    Context,
    Lookup,
    Output,
    Rejected,
    Transform,
    TransformStep,
    load,
)
from dataflow.connect.expressions import compile_expression, parse, quoted
from dataflow.connect.transform import HIDDEN, MAIN
from dataflow.connect.types import parse_type, to_arrow
from dataflow.transforms.answers import Answers
from dataflow.transforms.binding import refused
from dataflow.transforms.enrich_spec import EnrichOptions, lookup_of
from dataflow.transforms.hashing import hashed
from dataflow.transforms.keys import Slots

if TYPE_CHECKING:
    from dataflow.connect.expressions import Compiled

_TWICE = "the lookup has several rows for this key; let it give one"
_SHOWN_MAX = 200


def open_enrich(_: TransformStep, options: EnrichOptions, context: Context) -> Enrich:
    """Return the step; the lookup is not asked before the first batch."""
    spec, lookup, wanted = lookup_of(options)
    return Enrich(options, load(spec.open)(lookup, wanted, context), context)


class Enrich(Transform):
    """Keeps answers between batches."""

    def __init__(self, options: EnrichOptions, lookup: Lookup, context: Context) -> None:
        self._options = options
        self._lookup = lookup
        self._clock = context.clock
        keeps = not lookup.is_local
        self._answers = Answers(
            options.cache_rows if keeps else 0, options.cache_bytes if keeps else 0
        )
        types = {name: to_arrow(parse_type(text)) for name, text in options.columns.items()}
        self._schema = pa.schema([pa.field(name, of) for name, of in types.items()])
        self._casts: tuple[pa.Schema, dict[str, Compiled]] | None = None

    def apply(self, batch: pa.RecordBatch) -> Output:
        """Return the rows with what is known; those whose key is not as ``missing`` says."""
        self._must_be_free(batch)
        keys = hashed(batch, self._options.keys)
        whole = np.ones(batch.num_rows, bool) if keys.whole is None else keys.whole
        places = np.full(batch.num_rows, -1, np.int64)
        asked = np.flatnonzero(whole)
        slots = self._answers.slots(keys.take(asked))
        self._ask(batch, asked, slots)
        places[asked] = self._answers.places(slots)
        errors = {int(asked[row]): text for row, text in self._answers.failed(slots).items()}
        output = self._output(batch, places, errors)
        self._answers.trim()
        return output

    def close(self) -> None:
        """Release the lookup."""
        self._lookup.close()

    def _must_be_free(self, batch: pa.RecordBatch) -> None:
        for name in self._schema.names:
            if self._options.prefix + name in batch.schema.names:
                message = f"{self._options.prefix + name!r} comes in already; give a prefix"
                raise Rejected(message, field=f"options.columns.{name}")

    # --- asking ------------------------------------------------------------------------------

    def _ask(self, batch: pa.RecordBatch, rows: npt.NDArray[np.int64], slots: Slots) -> None:
        """Ask for every key that has no answer."""
        stale = self._answers.stale(slots, self._clock.steady())
        size = self._lookup.keys_max
        for first in range(0, len(stale), size):
            part = stale[first : first + size]
            keys = batch.select(list(self._options.keys)).take(pa.array(rows[part], pa.int64()))
            self._hear(slots[part], self._lookup.find(keys))

    def _hear(self, slots: Slots, answer: Answer) -> None:
        of = answer.of.to_numpy()
        errors = dict(answer.errors)
        counts = np.bincount(of, minlength=len(slots)) if len(of) else np.zeros(len(slots), int)
        errors |= dict.fromkeys(np.flatnonzero(counts > 1).tolist(), _TWICE)
        values, faults = self._cast(answer.rows)
        errors |= {int(of[row]): text for row, text in faults.items()}
        good = np.flatnonzero(~np.isin(of, [*errors]))
        now = self._clock.steady()
        known = np.where(
            counts > 0, self._options.ttl.total_seconds(), self._options.missing_ttl.total_seconds()
        )
        self._answers.put(slots, values.take(pa.array(good, pa.int64())), of[good], now + known)
        self._answers.fail(slots, errors)

    def _cast(self, rows: pa.RecordBatch) -> tuple[pa.RecordBatch, dict[int, str]]:
        """Return rows in the types that are wanted, and what is wrong with some."""
        if self._casts is None or not self._casts[0].equals(rows.schema):
            casts = {
                name: compile_expression(parse(f"CAST({quoted(name)} AS {text})"), rows.schema)
                for name, text in self._options.columns.items()
            }
            self._casts = rows.schema, casts
        arrays: list[pa.Array[Any]] = []
        faults: dict[int, str] = {}
        for name, cast in self._casts[1].items():
            outcome = cast.evaluate_rows(rows)
            arrays.append(outcome.values.cast(self._schema.field(name).type))
            if outcome.faults is not None:
                told = outcome.faults.messages.to_pylist()
                for row, text in zip(outcome.faults.rows.to_numpy(), told, strict=True):
                    faults[int(row)] = f"{name}: {text!s:.{_SHOWN_MAX}}"
        return pa.RecordBatch.from_arrays(arrays, schema=self._schema), faults

    # --- answering ---------------------------------------------------------------------------

    def _output(
        self, batch: pa.RecordBatch, places: npt.NDArray[np.int64], errors: dict[int, str]
    ) -> Output:
        unknown = places < 0
        bad = np.zeros(len(places), bool)
        bad[[*errors]] = True
        missing = self._options.missing
        if missing in {"fail", "dead-letter"}:
            bad |= unknown
        left = bad | unknown if missing == "drop" else bad
        rejected = None
        if bad.any():
            numbers = np.flatnonzero(bad)
            keys = ", ".join(self._options.keys)
            said = np.full(batch.num_rows, f"the lookup knows nothing of this {keys}", object)
            said[[*errors]] = [*errors.values()]
            texts = pa.array(said[numbers], pa.string())
            rejected = refused(batch, pa.array(numbers, pa.int64()), texts)
        stay = ~left
        rows = batch if stay.all() else batch.filter(pa.array(stay))
        made = self._beside(rows, places[stay])
        filtered = int(np.count_nonzero(left & ~bad))
        return Output({MAIN: made}, rejected, filtered=filtered)

    def _beside(self, rows: pa.RecordBatch, places: npt.NDArray[np.int64]) -> pa.RecordBatch:
        if (places >= 0).any():
            added = self._answers.take(places)
        else:
            nulls = [pa.nulls(rows.num_rows, field.type) for field in self._schema]
            added = pa.RecordBatch.from_arrays(nulls, schema=self._schema)
        return pa.RecordBatch.from_arrays(*_columns(rows, added, self._options.prefix))


def _columns(
    rows: pa.RecordBatch, added: pa.RecordBatch, prefix: str
) -> tuple[list[pa.Array[Any]], list[str]]:
    """Return columns and names: what came in, what is added, and the engine's own."""
    names = [name for name in rows.schema.names if name not in HIDDEN]
    hidden = [name for name in rows.schema.names if name in HIDDEN]
    arrays = [rows.column(name) for name in names] + [*added.columns]
    named = [*names, *(prefix + name for name in added.schema.names), *hidden]
    return [*arrays, *(rows.column(name) for name in hidden)], named
