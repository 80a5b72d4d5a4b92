"""From the program's start to ``/ready``, and what an idle server holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

from bench.report import Row, median
from bench.server import Place, place
from bench.workloads.workload import Ask, Workload
from dataflow.client import DataFlow, create_command
from dataflow.client.messages import Command

KNOWN = 10_000
IDLE_S = 5


def startup(ask: Ask) -> list[Row]:
    """Start over an empty folder, and over one with many pipelines."""
    empty, known = [], []
    with place() as full:
        with full.server() as (server, _):
            asyncio.run(create(server.grpc, ask.rows))
        for _ in range(ask.runs):
            with place() as here:
                empty.append(_started(here, 0))
            known.append(_started(full, ask.rows))
            ask.tell(f"empty {empty[-1].seconds:.2f} s, known {known[-1].seconds:.2f} s")
    return [median(empty), median(known)]


def _started(here: Place, known: int) -> Row:
    with here.server() as (server, seconds):
        return Row(
            workload="startup",
            system=_system(known),
            rows=known,
            seconds=seconds,
            cpu_s=server.cpu_s(),
            peak_rss_mib=server.peak_rss_mib(),
        )


def idle(ask: Ask) -> list[Row]:
    """Start likewise, and let the server rest."""
    with place() as empty, place() as full:
        with full.server() as (server, _):
            asyncio.run(create(server.grpc, ask.rows))
        return [_rested(ask, empty, 0), _rested(ask, full, ask.rows)]


def _rested(ask: Ask, here: Place, known: int) -> Row:
    with here.server() as (server, _):
        before = server.cpu_s()
        time.sleep(IDLE_S)
        held = server.rss_mib()
        ask.tell(f"{_system(known)}: {held:.0f} MiB")
        return Row(
            workload="idle",
            system=_system(known),
            rows=known,
            seconds=float(IDLE_S),
            cpu_s=server.cpu_s() - before,
            peak_rss_mib=server.peak_rss_mib(),
            detail=f"{held:.0f} MiB held after {IDLE_S} idle seconds",
        )


def _system(known: int) -> str:
    return f"dataflow, {known:,} pipelines known"


async def create(address: str, pipelines: int) -> None:
    """Create so many pipelines, in bulk."""
    async with DataFlow(address) as df:
        async for answer in df.execute(_creations(pipelines)):
            if answer.HasField("refusal"):
                raise RuntimeError(answer.refusal.message)


def _creations(pipelines: int) -> Iterator[Command]:
    for number in range(pipelines):
        yield create_command(
            {
                "pipelineId": f"pipeline-{number:05}",
                "name": f"Pipeline {number}",
                "labels": {"team": f"team-{number % 20}"},
                "source": {"sourceType": "generator", "options": {"rows": 1_000}},
                "transforms": [
                    {
                        "id": "large",
                        "transformType": "filter",
                        "options": {"expression": "amount > 100 AND country = 'DE'"},
                    }
                ],
                "sink": {"sinkType": "console"},
            }
        )


STARTUP = Workload("startup", "from the program's start to /ready", KNOWN, startup, runs=5)
IDLE = Workload("idle", "memory of a server that has nothing to do", KNOWN, idle, runs=1)
