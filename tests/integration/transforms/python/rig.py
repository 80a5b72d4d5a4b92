"""A step over the functions in ``brought``, with real time and real processes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from dataflow.app.clock import SystemClock
from dataflow.app.contexts import Paths, Secrets
from dataflow.connect import Context, Output, PipelineId, TransformStep
from dataflow.connect.spec import parse
from dataflow.connect.transform import ERROR, MAIN, ORDINAL
from dataflow.transforms.python.spec import SPEC
from dataflow.transforms.python.step import Python, open_python

BROUGHT = str(Path(__file__).parent / "brought")


def context(roots: Sequence[Path] = ()) -> Context:
    """Return what a step gets of a node that runs functions."""
    paths, secret = Paths(tuple(roots)), Secrets().resolve
    return Context(PipelineId("p"), "t1", SystemClock(), secret, paths, python_allowed=True)


def opened(function: str, around: Context | None = None, **options: Any) -> Python:  # noqa: ANN401 - JSON
    """Return a step that calls a function of ``brought.orders``, or of another module."""
    name = function if ":" in function else f"orders:{function}"
    text = json.dumps({"function": name, "pythonPath": [BROUGHT], **options})
    step = TransformStep(id="t1", transform_type=SPEC.name)
    return open_python(step, parse(SPEC.options, text), around or context())


@contextmanager
def step(function: str, around: Context | None = None, **options: Any) -> Iterator[Python]:  # noqa: ANN401 - JSON
    """Return the same, closed at the end."""
    made = opened(function, around, **options)
    try:
        yield made
    finally:
        made.close()


def batch(*prices: float, first: int = 0, item: str = "item") -> pa.RecordBatch:
    """Return rows with these prices, numbered from ``first``."""
    columns: Mapping[str, Any] = {
        "item": pa.array([item] * len(prices), pa.string()),
        "price": pa.array(prices, pa.float64()),
        ORDINAL: pa.array(range(first, first + len(prices)), pa.int64()),
    }
    return pa.record_batch(columns)


def made(output: Output) -> dict[str, list[Any]]:
    """Return the columns that go out."""
    assert output.rejected is None
    columns: dict[str, list[Any]] = output.batches[MAIN].to_pydict()
    return columns


def reason(output: Output, rows: int) -> str:
    """Return why all rows were refused."""
    assert sum(each.num_rows for each in output.batches.values()) == 0
    assert output.rejected is not None
    assert output.rejected.num_rows == rows
    (said,) = set(output.rejected[ERROR].to_pylist())
    return str(said)
