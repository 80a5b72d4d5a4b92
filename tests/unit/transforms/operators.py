"""Operators as a pipeline has them, and a clock for those that ask for the time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from dataflow.connect import Operator, Output, Problem, TransformSpec, TransformStep, Via, load
from dataflow.connect.operator import NOTHING
from dataflow.connect.spec import parse
from dataflow.connect.transform import MAIN, ORDINAL
from tests.unit.transforms.rig import CONTEXT

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
VIA = Via("in", "s")


class Clock:
    """Goes on when a test says so."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def steady(self) -> float:
        return (self.time - EPOCH).total_seconds()

    def sleep(self, **length: float) -> None:
        """Let time pass."""
        self.time += timedelta(**length)


def operator(
    spec: TransformSpec[Any],
    options: Mapping[str, Any],
    inputs: Sequence[str] = ("in",),
    clock: Clock | None = None,
) -> Operator:
    """Return the operator of a step with these options."""
    step = TransformStep(id="t1", transform_type=spec.name, inputs=tuple(inputs))
    context = replace(CONTEXT, clock=clock or Clock())
    made: Operator = load(spec.open)(step, parse(spec.options, json.dumps(options)), context)
    return made


def problems_of(
    spec: TransformSpec[Any], options: Mapping[str, Any], *inputs: Mapping[str, str] | None
) -> Sequence[Problem]:
    """Return what the spec finds wrong when a pipeline is created."""
    step = TransformStep(id="t1", transform_type=spec.name, inputs=("a", "b")[: len(inputs)])
    parsed = parse(spec.options, json.dumps(options))
    if spec.check_inputs is not None:
        return spec.check_inputs(step, parsed, inputs)
    return spec.check(step, parsed, inputs[0])


def with_more(of: Operator, output: Output) -> Output:
    """Return what a call gave and what it had left to give, as one; counts are held together."""
    outputs = [output]
    while (more := of.rest()) is not None:
        assert sum(batch.num_rows for batch in more.batches.values()) == more.produced
        outputs.append(more)
    if len(outputs) == 1:
        return output
    made: dict[str, list[pa.RecordBatch]] = {}
    for each in outputs:
        for name, batch in each.batches.items():
            made.setdefault(name, []).append(batch)
    batches = {
        name: pa.Table.from_batches(some).combine_chunks().to_batches()[0]
        for name, some in made.items()
        if sum(batch.num_rows for batch in some)
    }
    return replace(output, batches=batches, produced=sum(each.produced for each in outputs))


def run(of: Operator, batches: Sequence[pa.RecordBatch]) -> Iterator[Output]:
    """Give an operator with one input all there is, and its end."""
    of.splits(VIA.input, [VIA.split], idles=False)
    for batch in batches:
        yield with_more(of, of.apply(batch, VIA))
    yield with_more(of, of.split_ended(VIA))
    yield with_more(of, of.input_ended(VIA.input))


def multiset(table: pa.Table) -> list[str]:
    """Return the rows of a small table in an order that does not depend on theirs."""
    return sorted(map(str, table.to_pylist()))


def shown(output: Output = NOTHING, name: str = MAIN) -> list[dict[str, Any]]:
    """Return the rows of an output without their ordinals."""
    if name not in output.batches:
        return []
    rows = output.batches[name].to_pylist()
    return [{key: row[key] for key in row if key != ORDINAL} for row in rows]
