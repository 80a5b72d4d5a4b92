"""A host of shards in a process of its own, asked inside it, as the peer's actors are in theirs.

``python -m bench.inside CASSANDRA KEYSPACE SHARDS`` obeys lines of standard input, each with a line
of answer, and ends with its input.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from itertools import count

import uvloop

from bench.asked import Rate
from dataflow.app.clock import SystemClock
from dataflow.app.composing import new_id
from dataflow.app.logs import configure
from dataflow.app.program import GC_THRESHOLD
from dataflow.cluster.host import Host, Surroundings
from dataflow.cluster.shard import Committed
from dataflow.core.checkpoint import Checkpoint
from dataflow.core.commands import Command, CreatePipeline, UpdatePipeline, UserCommand
from dataflow.core.ids import CommandId, Offset, PipelineId, ShardId, Version
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.light import replace
from dataflow.core.spec import PipelineSpec, Sink, Source, canonical
from dataflow.journal.cassandra import WRITES_AT_ONCE, Cassandra, Options

PIPELINES = 200

P50, P99 = 49, 98
"""In the list of 99 cut points."""

SPEC = canonical(
    PipelineSpec(
        name="Orders of the day",
        labels={"team": "sales"},
        source=Source("generator", options='{"rows":1000}'),
        sink=Sink("console"),
    )
)

DESCRIPTION = "Large orders of the day, by country and customer, as of the last full hour: edition "
"""With it an update takes 350 B in the journal, as the peer's event does."""


class NoViews:
    """A projection of nothing: the peer writes its journal alone."""

    def apply(self, committed: Sequence[Committed]) -> None:
        """See ``Projection.apply``."""

    def replay(self, committed: Sequence[Committed]) -> None:
        """See ``Projection.replay``."""

    async def settled(self, shard: ShardId) -> None:
        """See ``Projection.settled``."""

    async def applied_offset(self, shard: ShardId) -> Offset:
        """See ``Projection.applied_offset``: a new keyspace holds nothing."""
        del shard
        return Offset(0)


class NoPast:
    """A history of nothing: no command here goes back in time."""

    async def version(
        self, pipeline: PipelineId, version: Version
    ) -> tuple[PipelineSpec, Checkpoint | None] | None:
        """See ``History.version``."""
        raise NotImplementedError

    async def checkpoint(
        self, pipeline: PipelineId, sequence: SequenceNumber, time: datetime | None
    ) -> Checkpoint | None:
        """See ``History.checkpoint``."""
        raise NotImplementedError


class Callers:
    """Callers inside the process, each with one command under way, over all pipelines in turn."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._editions = count()

    async def create(self) -> None:
        """Create the pipelines."""
        async with asyncio.TaskGroup() as tasks:
            for number in range(PIPELINES):
                command = _command(number, next(self._editions), CreatePipeline(SPEC))
                tasks.create_task(self._host.execute(command))

    async def rate(self, in_flight: int, commands: int) -> Rate:
        """Let so many callers send commands, one at a time each."""
        numbers = iter(range(commands))
        latencies: list[float] = []
        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(in_flight):
                tasks.create_task(self._call(numbers, latencies))
        took = time.perf_counter() - began
        cuts = statistics.quantiles([each * 1e3 for each in latencies], n=100, method="inclusive")
        return Rate(took, p50_ms=cuts[P50], p99_ms=cuts[P99])

    async def _call(self, numbers: Iterator[int], latencies: list[float]) -> None:
        for number in numbers:
            began = time.perf_counter()
            edition = next(self._editions)
            spec = replace(SPEC, description=f"{DESCRIPTION}{edition}")
            await self._host.execute(_command(number, edition, UpdatePipeline(spec)))
            latencies.append(time.perf_counter() - began)


def _command(number: int, edition: int, body: UserCommand) -> Command:
    pipeline = PipelineId(f"pipeline-{number % PIPELINES:03}")
    digest = hashlib.sha256(f"{body}".encode()).digest()
    return Command(pipeline, CommandId(f"update-{edition}"), "bench", body, digest)


async def obey(cassandra: str, keyspace: str, shards: int) -> None:
    """Serve until the input ends."""
    journal = await Cassandra.open(Options([cassandra], keyspace))
    around = Surroundings(
        journal,
        NoViews(),
        NoPast(),
        SystemClock(),
        new_id,
        shards,
        writes_at_once=WRITES_AT_ONCE,
    )
    try:
        async with Host.open(around) as host:
            await host.acquire_all()
            callers = Callers(host)
            await callers.create()
            while line := await asyncio.to_thread(sys.stdin.readline):
                _, in_flight, commands = line.split()
                rate = await callers.rate(int(in_flight), int(commands))
                print(json.dumps(asdict(rate)), flush=True)
    finally:
        await journal.close()


if __name__ == "__main__":
    configure("json")  # to the standard error: the output is for answers
    gc.set_threshold(*GC_THRESHOLD)
    uvloop.run(obey(sys.argv[1], sys.argv[2], int(sys.argv[3])))
