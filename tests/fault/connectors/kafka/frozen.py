"""A process with records in an open transaction, which goes on when it is told to.

python -m tests.fault.connectors.kafka.frozen BROKER TOPIC PREFIX TIMEOUT_S WHERE
"""

from __future__ import annotations

import asyncio
import sys
from datetime import timedelta
from typing import NamedTuple

from dataflow.connect import SinkStep
from dataflow.connect.testkit.places import context, rows, task
from dataflow.connectors.kafka.sink import KafkaSink
from dataflow.connectors.kafka.sink_spec import KafkaSinkOptions
from dataflow.core.errors import DataFlowError
from tests.integration.connectors.kafka.test_sink import SEED, decided

ROWS = 5


class Given(NamedTuple):
    """What the test asks for."""

    broker: str
    topic: str
    prefix: str
    timeout_s: str
    """Of the transaction."""
    where: str
    """The point at which to wait: behind the rows, or in their commit."""


async def live(given: Given) -> None:
    """Write rows as run 1, wait for a line, commit, and say how that ended."""

    def wait(point: str) -> None:
        if point == given.where and is_written:
            print(point, flush=True)  # noqa: T201 - the test waits for it
            sys.stdin.readline()

    is_written = False
    options = KafkaSinkOptions(topic=given.topic, id_prefix=given.prefix)
    # Shorter than anybody may choose: the test would have to wait as long.
    limit = timedelta(seconds=float(given.timeout_s))
    options = options.model_copy(update={"transaction_timeout": limit})
    sink = KafkaSink(SinkStep("kafka", given.broker), options, context(wait))
    await sink.recover(task(1), SEED)
    await sink.write(rows(0, ROWS))
    is_written = True
    await asyncio.to_thread(wait, "written")
    try:
        await sink.commit(decided(1))
        told = "committed"
    except DataFlowError as error:
        told = error.code
    print(told, flush=True)  # noqa: T201 - the test waits for it
    await sink.close()


if __name__ == "__main__":
    asyncio.run(live(Given(*sys.argv[1:])))
