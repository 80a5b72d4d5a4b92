"""An ``aggregate`` step as the engine drives it, by clocks that a test sets."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from dataflow.connect import Operator, Output, TransformStep, Via
from dataflow.connect.spec import parse
from dataflow.connect.transform import ERROR, MAIN, ORDINAL
from dataflow.transforms.aggregate.operator import open_aggregate
from dataflow.transforms.aggregate.spec import SPEC
from tests.unit.transforms.rig import CONTEXT

BEGIN = datetime(2013, 1, 1)  # noqa: DTZ001 - the columns under test have no zone

Row = dict[str, Any]


class Clock:
    """Time as a test sets it."""

    def __init__(self) -> None:
        self.today = datetime(2026, 1, 1, tzinfo=UTC)
        self.seconds = 0.0

    def now(self) -> datetime:
        return self.today

    def steady(self) -> float:
        return self.seconds


def aggregate(
    options: Mapping[str, Any], clock: Clock | None = None, inputs: tuple[str, ...] = ()
) -> Operator:
    """Return the operator of a step with these options."""
    step = TransformStep(id="t1", transform_type="aggregate", inputs=inputs)
    context = dataclasses.replace(CONTEXT, clock=clock or Clock())
    return open_aggregate(step, parse(SPEC.options, json.dumps(options)), context)


class Life:
    """One life of a step: what it is given, and all that comes out."""

    def __init__(
        self,
        options: Mapping[str, Any],
        *,
        splits: Sequence[str] = ("s",),
        idles: bool = False,
        parts: Sequence[bytes] = (),
        inputs: tuple[str, ...] = (),
    ) -> None:
        self.clock = Clock()
        self.step = aggregate(options, self.clock, inputs)
        if parts:
            self.step.restore(parts)
        for name in inputs or ("in",):
            self.step.splits(name, splits, idles=idles)
        self.batches: dict[str, list[pa.RecordBatch]] = {}
        self.refused: list[Row] = []
        self.counts: list[tuple[int, int]] = []

    def take(self, batch: pa.RecordBatch, split: str = "s", name: str = "in") -> list[Row]:
        """Give a batch; return the results it brings."""
        return self._seen(self.step.apply(batch, Via(name, split)))

    def end(self, split: str = "s", name: str = "in") -> list[Row]:
        """End a split and its input; return the results that brings."""
        return self._seen(self.step.split_ended(Via(name, split))) + self._seen(
            self.step.input_ended(name)
        )

    def tick(self, seconds: float = 1.0) -> list[Row]:
        """Let time pass; return the results it brings."""
        self.clock.seconds += seconds
        return self._seen(self.step.tick(self.clock.today))

    def begin_again(self) -> list[Row]:
        """Begin a scheduled input again; return the results that brings."""
        return self._seen(self.step.input_begins("in"))

    def table(self, name: str = MAIN) -> pa.Table:
        """Return all that came out so far."""
        return pa.Table.from_batches(self.batches[name])

    def rows(self, name: str = MAIN) -> list[Row]:
        """Return all that came out so far, as rows."""
        return [row for batch in self.batches.get(name, []) for row in batch.to_pylist()]

    def reasons(self) -> Mapping[int, str]:
        """Return why rows were refused, by their ordinals."""
        return {row[ORDINAL]: row[ERROR] for row in self.refused}

    def _seen(self, first: Output) -> list[Row]:
        found: list[Row] = []
        output: Output | None = first
        while output is not None:
            for name, batch in output.batches.items():
                self.batches.setdefault(name, []).append(batch)
            if MAIN in output.batches:
                found += output.batches[MAIN].to_pylist()
            if output.rejected is not None:
                self.refused += output.rejected.to_pylist()
            output = self.step.rest()
        return found


def whole(options: Mapping[str, Any], *batches: pa.RecordBatch) -> list[Row]:
    """Return the results of a whole life."""
    life = Life(options)
    for batch in batches:
        life.take(batch)
    life.end()
    return life.rows()


def times(*seconds: float | None) -> pa.Array[Any]:
    """Return moments by their seconds since ``BEGIN``."""
    moments = [None if each is None else at(each) for each in seconds]
    return pa.array(moments, pa.timestamp("us"))


def at(seconds: float) -> datetime:
    """Return a moment by its seconds since ``BEGIN``."""
    return BEGIN + timedelta(seconds=seconds)


def seconds_of(moment: datetime) -> float:
    """Return the seconds since ``BEGIN``."""
    return (moment - BEGIN).total_seconds()
