"""A function of a user's in its own process, and the same in the caller's: what the way costs."""

from __future__ import annotations

import asyncio
import filecmp
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import polars as pl
import pyarrow as pa
from pyarrow import csv

from bench.data import orders
from bench.report import Row, median
from bench.server import place
from bench.workloads import brought
from bench.workloads.etl import WARM_UP_ROWS, driven
from bench.workloads.workload import Ask, Workload, file_pipeline
from dataflow.app.clock import SystemClock
from dataflow.connect import Context, PipelineId, TransformStep
from dataflow.connect.spec import parse
from dataflow.connect.transform import ORDINAL
from dataflow.transforms.python.process import Process
from dataflow.transforms.python.spec import SPEC, PythonOptions
from dataflow.transforms.python.step import Python, open_python
from dataflow.transforms.python.working import batch_of

BATCH_ROWS = 1 << 16

FUNCTIONS: Mapping[str, tuple[Callable[[Any], object], Mapping[str, object]]] = {
    "cheap": (brought.cheap, {"function": "brought:cheap"}),
    "cheap, given 2 of 7 columns": (
        brought.cheap,
        {"function": "brought:cheap", "columns": ["price", "quantity"]},
    ),
    "medium, in Polars": (brought.medium, {"function": "brought:medium", "frame": "polars"}),
}

TURNS = 10
"""A run is cut into so many pieces, which both ways take by turns: others use the machine too."""

LIMIT_S, KILLS = 0.25, 8


class _Here:
    """Stands in for the process: calls the function where it is asked."""

    def __init__(self, function: Callable[[Any], object], frame: str) -> None:
        self._function = function
        self._frame = frame

    def call(self, batch: pa.RecordBatch, _: object) -> pa.RecordBatch:
        """See ``Process.call``."""
        given: Any = pl.from_arrow(batch) if self._frame == "polars" else batch
        return batch_of(self._function(given))


class _Inline(Python):
    """The step with all its checks, and no process."""

    def __init__(self, options: PythonOptions, function: Callable[[Any], object]) -> None:
        super().__init__(options, _context(), [])
        self._here = cast("Process", _Here(function, options.frame))

    def _running(self) -> Process:
        return self._here


def run(ask: Ask) -> list[Row]:
    """Measure both functions both ways, then how long one that hangs outlives its limit."""
    batch = _batch()
    rows: list[Row] = []
    for name in FUNCTIONS:
        runs = [_both(name, batch, max(TURNS, ask.rows // BATCH_ROWS)) for _ in range(ask.runs)]
        ratios = sorted(peer.seconds / ours.seconds for ours, peer in runs)
        ask.tell(f"{name}: {', '.join(f'{ratio:.2f}' for ratio in ratios)} times as fast")
        process, inline = (median(list(way)) for way in zip(*runs, strict=True))
        rows += [process, replace(inline, ratio=ratios[(len(ratios) - 1) // 2])]
    return [*rows, *_piped(ask), _killed(batch)]


def _piped(ask: Ask) -> list[Row]:
    """Measure the cheap function in a pipeline, and a ``map`` that computes the same."""
    steps = {
        "cheap, in a pipeline": ("python", _options(FUNCTIONS["cheap"][1])),
        "the same by map, in a pipeline": ("map", {"compute": {"total": "price * quantity"}}),
    }
    took: dict[str, list[Row]] = {system: [] for system in steps}
    written: dict[str, Path] = {}
    with place() as here, here.server() as (server, _):
        for number in range(ask.runs + 1):
            rows = ask.rows if number else WARM_UP_ROWS
            for system, (kind, options) in steps.items():
                target = here.folder / f"{kind}-{number}.csv"
                step = {"transformType": kind, "options": options}
                pipeline = file_pipeline(target.stem, str(orders(rows, "csv")), str(target))
                seconds, cpu_s = asyncio.run(driven(server, pipeline | {"transforms": [step]}))
                written[system] = target
                if number:
                    took[system].append(
                        Row("python_step", system, rows, seconds, rows / seconds, cpu_s=cpu_s)
                    )
            by_function, by_map = written.values()
            if not filecmp.cmp(by_function, by_map, shallow=False):
                raise RuntimeError("the function and map have written different rows")
    first, second = (median(runs) for runs in took.values())
    ask.tell(f"in a pipeline: {second.seconds / first.seconds:.2f} times as fast")
    return [first, replace(second, ratio=second.seconds / first.seconds)]


def _both(name: str, batch: pa.RecordBatch, batches: int) -> tuple[Row, Row]:
    function, options = FUNCTIONS[name]
    took: tuple[list[float], list[float]] = ([], [])
    with _opened(options) as process:
        ways = process, _Inline(_parsed(options), function)
        for way in ways:
            way.apply(batch)
            way.apply(batch)
        for _ in range(TURNS):
            for way, seconds in zip(ways, took, strict=True):
                for _ in range(batches // TURNS):
                    began = time.perf_counter()
                    way.apply(batch)
                    seconds.append(time.perf_counter() - began)
    names = f"{name}, in its process", f"{name}, in the caller's"
    first, second = (_row(*each, batch.num_rows) for each in zip(names, took, strict=True))
    return first, second


def _row(system: str, took: list[float], rows: int) -> Row:
    count, seconds = len(took) * rows, sum(took)
    detail = f"a batch {statistics.median(took) * 1e3:.2f} ms, the quickest {min(took) * 1e3:.2f}"
    return Row("python_step", system, count, seconds, count / seconds, detail=detail)


def _killed(batch: pa.RecordBatch) -> Row:
    """Let a function hang in C beyond its limit, time and again, and serve the batch behind it."""
    hanging = batch.set_column(
        batch.schema.get_field_index("quantity"),
        "quantity",
        pa.repeat(pa.scalar(-1, pa.int64()), batch.num_rows),
    )
    beyond, again = [], []
    with _opened({"function": "brought:deaf", "timeLimit": f"{LIMIT_S}s"}) as step:
        step.apply(batch)
        for _ in range(KILLS):
            began = time.perf_counter()
            output = step.apply(hanging)
            beyond.append(time.perf_counter() - began - LIMIT_S)
            if output.rejected is None or output.rejected.num_rows != batch.num_rows:
                raise RuntimeError("a batch that took too long was not refused")
            began = time.perf_counter()
            step.apply(batch)
            again.append(time.perf_counter() - began)
    detail = (
        f"gone {statistics.median(beyond) * 1e3:.0f} ms after its limit, at most"
        f" {max(beyond) * 1e3:.0f}; the next batch took {statistics.median(again) * 1e3:.0f} ms,"
        " with a new process"
    )
    return Row("python_step", "hangs in C, killed", KILLS, max(beyond), detail=detail)


def _batch() -> pa.RecordBatch:
    (batch,) = csv.read_csv(orders(BATCH_ROWS, "csv")).combine_chunks().to_batches()
    return batch.append_column(ORDINAL, pa.array(range(batch.num_rows), pa.int64()))


def _context() -> Context:
    return Context(PipelineId("p"), "t1", SystemClock(), str, Path, python_allowed=True)


def _options(options: Mapping[str, object]) -> Mapping[str, object]:
    return {"pythonPath": [str(Path(__file__).parent)], **options}


def _parsed(options: Mapping[str, object]) -> PythonOptions:
    return parse(PythonOptions, json.dumps(_options(options)))


@contextmanager
def _opened(options: Mapping[str, object]) -> Iterator[Python]:
    step = TransformStep(id="t1", transform_type=SPEC.name)
    python = open_python(step, _parsed(options), _context())
    try:
        yield python
    finally:
        python.close()


WORKLOAD = Workload(
    "python_step",
    "a function of a user's over batches of 65,536 orders, in its own process or in the caller's",
    10_000_000,
    run,
)
