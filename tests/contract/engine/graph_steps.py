"""Steps for tests of graphs: named outputs, a memory that answers at the end, a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from dataflow.connect import (
    Context,
    Operator,
    OperatorOptions,
    Options,
    Output,
    Transform,
    TransformSpec,
    TransformStep,
    Via,
)
from dataflow.connect.transform import MAIN


class Parity(Transform):
    """Odd numbers here, even ones there."""

    def apply(self, batch: pa.RecordBatch) -> Output:
        odd = pc.equal(pc.bit_wise_and(batch.column("id"), pa.scalar(1)), pa.scalar(1))
        return Output({"odd": batch.filter(odd), "even": batch.filter(pc.invert(odd))})


class Sum(Operator):
    """One row at the end of the input: the sum of all, as an id."""

    def __init__(self) -> None:
        self._sum = 0
        self._told = 0

    def apply(self, batch: pa.RecordBatch, via: Via) -> Output:
        self._sum += pc.sum(batch.column("id")).as_py() or 0
        return Output(absorbed=batch.num_rows)

    def input_ended(self, input_name: str) -> Output:
        total, self._sum = self._sum, 0
        made = pa.record_batch({"id": pa.array([total] if total else [], pa.int64())})
        return Output({MAIN: made}, produced=made.num_rows)

    @property
    def state_bytes(self) -> int:
        return self._sum

    def changes(self, *, whole: bool) -> bytes | None:
        change = self._sum if whole else self._sum - self._told
        self._told = self._sum
        return json.dumps(change).encode() if change or whole else None

    def restore(self, parts: Sequence[bytes]) -> None:
        self._sum = self._told = sum(map(json.loads, parts))


class Known(Operator):
    """Rows of the first input whose id is in the second, which is read first."""

    keeps_splits = True

    def __init__(self, inputs: Sequence[str]) -> None:
        self.first = inputs[1:]
        self._ids: list[int] = []
        self._ended = False

    def apply(self, batch: pa.RecordBatch, via: Via) -> Output:
        if via.input in self.first:
            assert not self._ended
            self._ids += [row["id"] for row in batch.to_pylist()]
            return Output(absorbed=batch.num_rows)
        assert self._ended, "rows came before their table"
        table = pa.array(self._ids, pa.int64())
        kept = batch.filter(pc.is_in(batch.column("id"), value_set=table))
        return Output({MAIN: kept}, filtered=batch.num_rows - kept.num_rows)

    def input_ended(self, input_name: str) -> Output:
        self._ended = self._ended or input_name in self.first
        return Output()

    def changes(self, *, whole: bool) -> bytes | None:
        return json.dumps(self._ids).encode()

    def restore(self, parts: Sequence[bytes]) -> None:
        self._ids = json.loads(parts[-1])


class Waking(Operator):
    """Gives what it has kept when time passes."""

    ticks = True

    def __init__(self) -> None:
        self._kept: list[pa.RecordBatch] = []

    def apply(self, batch: pa.RecordBatch, via: Via) -> Output:
        self._kept.append(batch)
        return Output(absorbed=batch.num_rows)

    def tick(self, now: datetime) -> Output:
        kept, self._kept = self._kept, []
        table = pa.Table.from_batches(kept) if kept else None
        made = table.combine_chunks().to_batches()[0] if table is not None else None
        return Output({MAIN: made}, produced=made.num_rows) if made is not None else Output()


def open_waking(_: TransformStep, __: Options, ___: Context) -> Waking:
    """Return the operator of a step."""
    return Waking()


def open_parity(_: TransformStep, __: Options, ___: Context) -> Parity:
    """Return the transform of a step."""
    return Parity()


def open_sum(_: TransformStep, __: Options, ___: Context) -> Sum:
    """Return the operator of a step."""
    return Sum()


def open_known(step: TransformStep, _: Options, __: Context) -> Known:
    """Return the operator of a step."""
    return Known(step.inputs)


PARITY = TransformSpec(
    name="parity",
    summary="Odd and even.",
    options=Options,
    open=f"{__name__}:open_parity",
    outputs=lambda _: ("odd", "even"),
)
SUM = TransformSpec(
    name="sum", summary="A sum.", options=OperatorOptions, open=f"{__name__}:open_sum"
)
WAKING = TransformSpec(
    name="waking", summary="Later.", options=OperatorOptions, open=f"{__name__}:open_waking"
)
KNOWN = TransformSpec(
    name="known",
    summary="What a table knows.",
    options=OperatorOptions,
    open=f"{__name__}:open_known",
    inputs=(2, 2),
    check_inputs=lambda *_: (),
    schema_of_inputs=lambda _, __, columns: columns[0],
)
