"""What a workload is, and the few things that all of them do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.report import Row
from dataflow.client import DataFlow
from dataflow.v1 import event_pb2 as pb


@dataclass(frozen=True, slots=True)
class Ask:
    """How a workload shall be run."""

    rows: int
    runs: int
    peers: Sequence[str]
    tell: Callable[[str], None]
    """Called with a line when something was measured."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Something to measure."""

    name: str
    summary: str
    rows: int
    """By default."""
    run: Callable[[Ask], list[Row]]
    peers: tuple[str, ...] = ()
    runs: int = 3
    """By default."""


async def completed(df: DataFlow, pipeline: str, after: int) -> None:
    """Wait until a bounded pipeline has ended, as a program would: by a watch.

    Raises:
        RuntimeError: it did not complete.
    """
    async for change in df.watch(pipeline, after=after):
        if change.status != pb.STATUS_RUNNING:
            break
    shown = await df.get(pipeline)
    if (shown.status, shown.reason) != (pb.STATUS_STOPPED, "completed"):
        status = pb.Status.Name(shown.status)
        raise RuntimeError(f"{pipeline} is {status}: {shown.reason or shown.error.message}")


def file_pipeline(pipeline: str, source: str, target: str) -> dict[str, Any]:
    """Return the pipeline of the file workloads: a filter and a computed column."""
    return {
        "pipelineId": pipeline,
        "name": "Large orders",
        "source": {"sourceType": "file", "connectionString": source},
        "transforms": [
            {
                "id": "large",
                "transformType": "filter",
                "options": {"expression": "price > 500 AND country IN ('DE', 'FR', 'GB', 'US')"},
            },
            {
                "id": "total",
                "transformType": "map",
                "options": {"compute": {"total": "price * quantity"}},
            },
        ],
        "sink": {"sinkType": "file", "connectionString": target},
        "options": {"checkpointInterval": "1s"},
    }
