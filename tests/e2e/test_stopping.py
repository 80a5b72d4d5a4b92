"""How long what ends may take: a pipeline that is stopped, and the program itself."""

from __future__ import annotations

import time
from pathlib import Path

from tests.e2e.packages import installed
from tests.e2e.programs import api, ctl, serving, until
from tests.e2e.specs import generated, line

STUCK = """
import asyncio

from dataflow.connect import AtLeastOnceSink, Guarantee, Options, SinkSpec


class Stuck(AtLeastOnceSink):
    async def open(self, task):
        pass

    async def write(self, batch):
        print("stuck", flush=True)
        await asyncio.Event().wait()

    async def flush(self):
        pass


def open_sink(step, options, context):
    return Stuck()


SPEC = SinkSpec(
    name="stuck",
    summary="Takes rows and never comes back.",
    guarantee=Guarantee.AT_LEAST_ONCE,
    options=Options,
    open="stuck.sink:open_sink",
)
"""
"""A target that has stopped to answer."""


def test_a_run_that_cannot_finish_is_given_up_after_the_grace(folder: Path) -> None:
    """An orchestrator kills what takes longer than it was told; the default is 20 s."""
    found = installed(folder / "site", "stuck", {"sink.py": STUCK}, {"stuck": "stuck.sink:SPEC"})
    settings = {**found, "DATAFLOW_STOP_GRACE_S": "0.5"}
    with serving(folder, settings) as server, api(server) as http:
        http.start(http.create(line(generated(0, 1000), {"sinkType": "stuck"})))
        until(lambda: "stuck" in server.out)
        begun = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - begun < 10


def test_the_deadline_of_a_stop_is_journalled(folder: Path) -> None:
    """It decides how long the last checkpoint may take, also for a node that takes the run over."""
    with serving(folder) as server, api(server) as http:
        pipeline = http.create(line(generated(0, 1000), {"sinkType": "console"}))
        http.start(pipeline)
        assert ctl(server.grpc, "stop", pipeline, "--deadline", "7s").returncode == 0
        events = http.get(f"/pipelines/{pipeline}/events", type="StopRequested")["events"]
    assert [event["stopRequested"]["deadline"] for event in events] == ["7s"]
