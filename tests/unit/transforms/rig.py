"""Transforms as a pipeline has them: options from JSON, checked, opened by their spec."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from dataflow.connect import Context, Output, Transform, TransformSpec, TransformStep, load
from dataflow.connect.spec import parse
from dataflow.connect.transform import MAIN, ORDINAL
from dataflow.core.ids import PipelineId


class Clock:
    """Time stands still."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def steady(self) -> float:
        return 0.0


CONTEXT = Context(PipelineId("p"), "t1", Clock(), secret=lambda text: text, path=Path)


def opened(spec: TransformSpec[Any], options: Mapping[str, Any]) -> Transform:
    """Return the transform of a step with these options."""
    step = TransformStep(id="t1", transform_type=spec.name)
    made: Transform = load(spec.open)(step, parse(spec.options, json.dumps(options)), CONTEXT)
    return made


def problems(
    spec: TransformSpec[Any], options: Mapping[str, Any], columns: Mapping[str, str] | None = None
) -> Sequence[tuple[str, str]]:
    """Return what the spec finds wrong when a pipeline is created."""
    step = TransformStep(id="t1", transform_type=spec.name)
    found = spec.check(step, parse(spec.options, json.dumps(options)), columns)
    return [(problem.field, problem.message) for problem in found]


def schema(
    spec: TransformSpec[Any], options: Mapping[str, Any], columns: Mapping[str, str]
) -> Mapping[str, str] | None:
    """Return the columns that the spec says go out."""
    return spec.schema(parse(spec.options, json.dumps(options)), columns)


def batch(first: int = 0, **columns: Sequence[Any] | pa.Array[Any]) -> pa.RecordBatch:
    """Return a batch with ordinals from ``first``."""
    made = pa.RecordBatch.from_pydict(dict[str, Any](columns))
    ordinals = pa.array(range(first, first + made.num_rows), pa.int64())
    return made.append_column(ORDINAL, ordinals)


def rows(output: Output) -> list[dict[str, Any]]:
    """Return what goes out."""
    return output.batches[MAIN].to_pylist()
