"""A table and the sinks that write to it, as the engine would drive them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from dataflow.connect import Checkpoint, Lineage, Run, SinkStep, Stamp
from dataflow.connect.spec import parse
from dataflow.connect.testkit import context, task
from dataflow.connectors.postgres.sink import PostgresSink, open_sink
from dataflow.connectors.postgres.sink_spec import PostgresSinkOptions

SEED = Checkpoint(lineage=Lineage(1))


def nothing(_: str) -> None:
    """Pass every point."""


@dataclass
class Rig:
    """One pipeline over one table; each ``open`` is a new run."""

    url: str
    options: Mapping[str, Any]
    run: int = 0
    pipeline: str = "p"
    held: Checkpoint = field(default=SEED)
    sinks: list[PostgresSink] = field(default_factory=list)

    def sink(self, probe: Callable[[str], None] = nothing) -> PostgresSink:
        """Return a sink as a new process would make it."""
        text = json.dumps({"table": "rows", **self.options})
        step = SinkStep("postgres", self.url, options=text)
        options = parse(PostgresSinkOptions, text)
        sink = open_sink(step, options, context(probe, self.pipeline))
        self.sinks.append(sink)
        return sink

    async def close(self) -> None:
        """Close every sink that was made, once more where it is closed."""
        for sink in self.sinks:
            await sink.close()

    async def open(self, probe: Callable[[str], None] = nothing) -> PostgresSink:
        """Return the sink of the next run, recovered."""
        self.run += 1
        sink = self.sink(probe)
        try:
            self.held = await sink.recover(task(self.run, self.pipeline), SEED)
        except BaseException:
            await sink.close()
            raise
        return sink

    def next(self) -> Checkpoint:
        """Return the decision after the one that is held."""
        return replace(self.held, stamp=Stamp(Run(self.run), self.held.stamp.number + 1))

    async def commit(self, sink: PostgresSink) -> None:
        """Decide the next checkpoint."""
        decision = self.next()
        await sink.commit(decision)
        self.held = decision

    async def write(self, *batches: pa.RecordBatch) -> dict[int, str]:
        """Write batches as one checkpoint of a run; returns the rows of the last refused."""
        sink = await self.open()
        try:
            refused = None
            for batch in batches:
                refused = await sink.write(batch)
            await self.commit(sink)
        finally:
            await sink.close()
        if refused is None:
            return {}
        return {row["index"]: row["error"] for row in refused.to_pylist()}


def rows_of(**columns: Any) -> pa.RecordBatch:  # noqa: ANN401 - whatever Arrow takes
    """Return a batch of columns, each a list or an Arrow array."""
    return pa.record_batch({name: pa.array(values) for name, values in columns.items()})
