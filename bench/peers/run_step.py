"""The platform's own ``aggregate`` step without the platform: batches in, groups out.

What is left out is a server, checkpoints and promises: the difference is what those cost.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic

import pyarrow as pa
import pyarrow.csv

from bench.peers.timing import main
from dataflow.connect import Context, Output, PipelineId, TransformStep, Via
from dataflow.connect.operator import Operator
from dataflow.transforms.aggregate.operator import open_aggregate
from dataflow.transforms.aggregate.options import AggregateOptions

BATCH_ROWS = 65_536
VIA = Via("source", "file")


class Clock:
    """The real one."""

    def now(self) -> datetime:
        """Return the time of day."""
        return datetime.now(UTC)

    def steady(self) -> float:
        """Return seconds that never jump."""
        return monotonic()


def aggregate(source: Path, target: Path) -> None:
    """Count and add up by key."""
    context = Context(PipelineId("bench"), "step", Clock(), secret=lambda text: text, path=Path)
    made = {"n": "count()", "total": "sum(value)"}
    options = AggregateOptions.model_validate({"groupBy": ("key",), "aggregates": made})
    step = open_aggregate(TransformStep(), options, context)
    with target.open("wb") as file:
        for table in _outputs(step, source):
            text = io.BytesIO()
            pyarrow.csv.write_csv(table, text, pyarrow.csv.WriteOptions(include_header=False))
            file.write(text.getvalue())


def _outputs(step: Operator, source: Path) -> Iterator[pa.RecordBatch]:
    for read in pyarrow.csv.open_csv(source):
        for at in range(0, read.num_rows, BATCH_ROWS):
            yield from _all(step, step.apply(read.slice(at, BATCH_ROWS), VIA))
    yield from _all(step, step.split_ended(VIA))
    yield from _all(step, step.input_ended(VIA.input))


def _all(step: Operator, output: Output | None) -> Iterator[pa.RecordBatch]:
    while output is not None:
        yield from output.batches.values()
        output = step.rest()


if __name__ == "__main__":
    main({"aggregate": aggregate})
