"""Pipelines that run for as long as they are let, on whichever node owns them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import NamedTuple

from bench.cluster import Bed, Registers, decided_s, execute
from dataflow.client import create_command
from dataflow.client.messages import Command
from dataflow.core.checkpoint import Stamp
from dataflow.core.ids import PipelineId


class Rate(NamedTuple):
    """How fast rows come, and how often they are decided about."""

    rows_per_second: int
    checkpoint: timedelta = timedelta(seconds=1)


async def begin(bed: Bed, registers: Registers, pipelines: int, rate: Rate) -> None:
    """Create and start so many pipelines; return once each has decided."""
    await execute(bed.nodes.grpc(), list(_commands(pipelines, rate)))
    everyone = {PipelineId(_name(number)): Stamp() for number in range(pipelines)}
    await decided_s(registers, bed.shards, everyone, time.monotonic())


def _commands(pipelines: int, rate: Rate) -> Iterator[Command]:
    for number in range(pipelines):
        yield create_command(
            {
                "pipelineId": _name(number),
                "name": f"Orders {number}",
                "source": {
                    "sourceType": "generator",
                    "options": {"rowsPerSecond": rate.rows_per_second},
                },
                "sink": {"sinkType": "console"},
                "options": {"checkpointInterval": f"{rate.checkpoint.total_seconds():.0f}s"},
            }
        )
    for number in range(pipelines):
        command = Command()
        command.start.pipeline_id = _name(number)
        yield command


def _name(number: int) -> str:
    return f"pipeline-{number:05}"
