"""Durable commands a second: each is a real change, journalled before it is answered."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace

from bench.report import Row, median
from bench.server import Server, place
from bench.workloads.starting import create
from bench.workloads.workload import Ask, Workload
from dataflow.client import DataFlow, update_command
from dataflow.client.messages import Command

PIPELINES = 1_000
COMMANDS = 100_000
SECONDS_MAX = 10.0
UNARY_SHARE = 20
"""Unary commands are slower, so there are fewer: one for so many in bulk."""

MESSAGE = 500
"""Commands a message, as the SDK sends them."""

P50, P99 = 49, 98
"""In the list of 99 cut points."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way to send commands."""

    system: str
    new_expressions: bool
    callers: int
    """0: in bulk."""


WAYS = (
    Way("Execute", new_expressions=False, callers=0),
    Way("Execute, new expressions", new_expressions=True, callers=0),
    Way("unary, 1 in flight", new_expressions=False, callers=1),
    Way("unary, 64 in flight", new_expressions=False, callers=64),
)


def run(ask: Ask) -> list[Row]:
    """Update 1,000 pipelines in turn: in bulk, then one by one, then 64 at a time."""
    rows = []
    for way in WAYS:
        count = max(ask.rows // UNARY_SHARE, 1) if way.callers else ask.rows
        runs = []
        for _ in range(ask.runs):
            with place() as here, here.server() as (server, _):
                asyncio.run(create(server.grpc, PIPELINES))
                updates = list(updates_of(count, new_expressions=way.new_expressions))
                runs.append(asyncio.run(_measured(server, way, updates)))
            ask.tell(f"{runs[-1].system}: {runs[-1].rows_per_s:,.0f}/s, {runs[-1].detail}")
        rows.append(median(runs))
    return rows


async def _measured(server: Server, way: Way, updates: Sequence[Command]) -> Row:
    cpu_s = server.cpu_s()
    row = await measured(server.grpc, updates, way.callers)
    cpu_s = server.cpu_s() - cpu_s
    return replace(
        row,
        workload=WORKLOAD.name,
        system=f"dataflow, {way.system}",
        cpu_s=cpu_s,
        peak_rss_mib=server.peak_rss_mib(),
    )


async def measured(address: str, updates: Sequence[Command], callers: int) -> Row:
    """Send updates, in bulk if there are no callers; return the row of it, not named yet."""
    async with DataFlow(address) as df:
        started = time.perf_counter()
        if callers == 0:
            latencies = await _in_bulk(df, updates)
            what = f"a message of {MESSAGE}"
        else:
            latencies = await _one_by_one(df, updates, callers)
            what = "a command"
        seconds = time.perf_counter() - started
    done = sum(size for _, size in latencies)
    cuts = statistics.quantiles([took * 1e3 for took, _ in latencies], n=100, method="inclusive")
    return Row(
        workload="",
        system="",
        rows=done,
        seconds=seconds,
        rows_per_s=done / seconds,
        detail=f"{what}: p50 {cuts[P50]:.1f} ms, p99 {cuts[P99]:.1f} ms",
    )


async def _in_bulk(df: DataFlow, updates: Sequence[Command]) -> list[tuple[float, int]]:
    """Return how long each message took from its first command to its last answer, and its size."""
    began: list[float] = []
    ended = time.perf_counter() + SECONDS_MAX

    async def source() -> AsyncIterator[Command]:
        for first in range(0, len(updates), MESSAGE):
            if time.perf_counter() > ended:
                return
            began.append(time.perf_counter())
            for command in updates[first : first + MESSAGE]:
                yield command

    latencies: list[tuple[float, int]] = []
    answered = 0
    async for answer in df.execute(source(), commands_a_message=MESSAGE):
        if answer.HasField("refusal"):
            raise RuntimeError(answer.refusal.message)
        answered += 1
        message = answered % MESSAGE == 0 or answered == len(updates)
        if message:
            size = answered - sum(size for _, size in latencies)
            latencies.append((time.perf_counter() - began[len(latencies)], size))
    return latencies


async def _one_by_one(
    df: DataFlow, updates: Sequence[Command], callers: int
) -> list[tuple[float, int]]:
    """Return how long each command took, with so many callers at once."""
    left = iter(updates)
    latencies: list[tuple[float, int]] = []
    ended = time.perf_counter() + SECONDS_MAX

    async def caller() -> None:
        for command in left:
            started = time.perf_counter()
            if started > ended:
                return
            await df.update(command.update.pipeline_id, command.update)
            latencies.append((time.perf_counter() - started, 1))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(callers):
            tasks.create_task(caller())
    return latencies


def updates_of(count: int, *, new_expressions: bool) -> Iterator[Command]:
    """Yield updates, pipeline after pipeline; each is a new version of its pipeline.

    Steps that were found good are not checked again, so a new description costs less than an
    expression that the server has not seen yet.
    """
    base = update_command(
        "",
        {
            "name": "Pipeline",
            "source": {"sourceType": "generator", "options": {"rows": 1_000}},
            "transforms": [
                {
                    "id": "large",
                    "transformType": "filter",
                    "options": {"expression": "amount > 100 AND country = 'DE'"},
                }
            ],
            "sink": {"sinkType": "console"},
        },
    )
    for number in range(count):
        command = Command()
        command.CopyFrom(base)
        command.update.pipeline_id = f"pipeline-{number % PIPELINES:05}"
        command.update.command_id = f"update-{number}"
        if new_expressions:
            options = f'{{"expression": "amount > {number} AND country = \'DE\'"}}'
            command.update.transforms[0].options = options
        else:
            command.update.description = f"Orders, edition {number}"
        yield command


WORKLOAD = Workload(
    "commands",
    "durable UpdatePipeline commands over 1,000 pipelines, in bulk and unary",
    COMMANDS,
    run,
)
