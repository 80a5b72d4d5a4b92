"""Nodes that come and go, and what is asked of any of them meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from dataflow.app.clustered import Clustered
from dataflow.core import commands as c
from dataflow.core.answers import Answer
from dataflow.core.errors import Rejected
from dataflow.core.ids import CommandId, NodeId, PipelineId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.core.messages import Phase
from dataflow.core.spec import PipelineSpec, Sink, Source, canonical
from dataflow.core.state import Status
from dataflow.server.backend import Pipeline, Query

if TYPE_CHECKING:
    from tests.integration.cluster.conftest import Cluster

SPEC = canonical(
    PipelineSpec(
        name="a",
        source=Source("generator", options='{"rowsPerSecond": 100}'),
        sink=Sink("console"),
    )
)

IDS = [PipelineId(f"p{n}") for n in range(24)]


def commands(body: c.UserCommand, ids: Sequence[PipelineId] = IDS) -> list[c.Command]:
    """Return one command for each pipeline."""
    return [command(one, body) for one in ids]


def command(pipeline: PipelineId, body: c.UserCommand, which: object = "") -> c.Command:
    """Return a command with an id of its own."""
    name = CommandId(f"{type(body).__name__}-{pipeline}-{which}")
    return c.Command(pipeline, name, "me", body, name.encode())


async def test_any_node_answers_for_any_pipeline(cluster: Cluster) -> None:
    """Whoever asks need not know who owns what."""
    for name in "abc":
        await cluster.start(name)
    await cluster.settled("a", "b", "c")
    created = await cluster.nodes["a"].routed.execute(commands(c.CreatePipeline(SPEC)))
    assert [type(answer) for answer in created] == [Answer] * len(IDS)
    for node in cluster.nodes.values():
        shown = [await node.routed.pipeline(one) for one in IDS]
        assert {one.state.status for one in shown} == {Status.CONFIGURED}
        assert {one.owner for one in shown} == {"a", "b", "c"}
        page, total = await node.routed.pipelines(Query(limit=10))
        assert (len(page), total) == (10, len(IDS))
        events = await node.routed.events(IDS[0], SequenceNumber(0), 10, "")
        assert [event.type for event in events] == ["PipelineCreated"]


async def test_commands_too_large_for_one_message_are_carried_in_several(
    cluster: Cluster,
) -> None:
    """Specs may have a megabyte, and a thousand commands travel together."""
    for name in "ab":
        await cluster.start(name)
    await cluster.settled("a", "b")
    large = replace(SPEC, description="x" * 900_000)
    made = await cluster.nodes["a"].routed.execute(commands(c.CreatePipeline(large)))
    assert [type(one) for one in made] == [Answer] * len(IDS)


async def test_a_retried_command_gets_the_first_answer_from_the_next_owner(
    cluster: Cluster,
) -> None:
    """The window of command ids moves with the shard."""
    await cluster.start("a")
    await cluster.settled("a")
    first = await cluster.nodes["a"].routed.execute(commands(c.CreatePipeline(SPEC)))
    await cluster.start("b")
    await cluster.settled("a", "b")
    await cluster.stop("a")
    await cluster.settled("b")
    again = await cluster.nodes["b"].routed.execute(commands(c.CreatePipeline(SPEC)))
    assert again == first


async def test_commands_are_answered_while_nodes_come_and_go(cluster: Cluster) -> None:
    """A planned move costs those who ask a little patience and nothing else."""
    a: Clustered = await cluster.start("a")
    await cluster.settled("a")
    await a.routed.execute(commands(c.CreatePipeline(SPEC)))
    rounds, going = 0, True

    async def ask() -> None:
        nonlocal rounds
        while going:
            bodies = (c.StartPipeline(), c.StopPipeline(f"round {rounds}"))
            for body in bodies:
                answers = await a.routed.execute([command(one, body, rounds) for one in IDS])
                assert [x for x in answers if not isinstance(x, Answer)] == []
                for one in IDS:
                    await a.routed.settled(one, timedelta(seconds=10))
            rounds += 1

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ask())
        await cluster.start("b")
        await cluster.settled("a", "b")
        await cluster.start("c")
        await cluster.settled("a", "b", "c")
        await cluster.stop("b")
        await cluster.settled("a", "c")
        going = False
    assert rounds > 0


async def test_what_runs_goes_on_where_its_shard_has_gone(cluster: Cluster) -> None:
    """A drained node takes nothing with it."""
    await cluster.start("a")
    await cluster.settled("a")
    routed = cluster.nodes["a"].routed
    await routed.execute([*commands(c.CreatePipeline(SPEC)), *commands(c.StartPipeline())])
    await cluster.start("b")
    await cluster.settled("a", "b")
    await cluster.stop("a")
    await cluster.settled("b")
    b = cluster.nodes["b"].routed
    async with asyncio.timeout(20):
        before = {one: await b.pipeline(one) for one in IDS}
        for one in IDS:
            while (now := await b.pipeline(one)).decision == before[one].decision:  # noqa: ASYNC110 - the decision is what is waited for
                await asyncio.sleep(0.05)
            assert (now.state.status, now.owner) == (Status.RUNNING, "b")


async def test_a_watcher_of_one_pipeline_follows_it_to_its_next_owner(cluster: Cluster) -> None:
    """It missed nothing, and heard nothing twice."""
    await cluster.start("a")
    await cluster.start("b")
    await cluster.settled("a", "b")
    a = cluster.nodes["a"].routed
    await a.execute(commands(c.CreatePipeline(SPEC)))
    mine = IDS[0]
    seen: list[int] = []

    async def watch() -> None:
        async with aclosing(a.watch(mine, SequenceNumber(1))) as changes:
            async for change in changes:
                if change.event is not None:
                    seen.append(change.event.sequence)
                    if len(seen) == 4:
                        return

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(watch())
        await a.execute(commands(c.StartPipeline(), [mine]))
        await cluster.start("c")
        await cluster.settled("a", "b", "c")
        await cluster.stop("b")
        await cluster.settled("a", "c")
        await a.execute(commands(c.StopPipeline(), [mine]))
    assert seen == sorted(set(seen))


async def test_a_node_set_up_for_other_shards_does_not_join(cluster: Cluster) -> None:
    """It would look for pipelines where they are not."""
    await cluster.start("a")
    with pytest.raises(ExceptionGroup) as raised:
        await cluster.start("b", shards=64)
    assert raised.group_contains(Rejected, match="made with 12 shards")


def copying(folder: Path, rows: int) -> PipelineSpec:
    """Return a pipeline over files that one node alone has."""
    (folder / "in.csv").write_text("n\n" + "".join(f"{n}\n" for n in range(rows)))
    return canonical(
        PipelineSpec(
            name="copy",
            source=Source("file", str(folder / "in.csv"), options='{"watch": true}'),
            sink=Sink("file", str(folder / "out.csv")),
        )
    )


async def until(node: Clustered, pipeline: PipelineId, phase: Phase) -> Pipeline:
    """Return a pipeline once it is in a phase."""
    async with asyncio.timeout(20):
        while (shown := await node.routed.pipeline(pipeline)).running.phase is not phase:  # noqa: ASYNC110 - the phase is what is waited for
            await asyncio.sleep(0.02)
    return shown


async def rows_written(node: Clustered, pipeline: PipelineId, rows: int) -> None:
    """Return once so many rows have been decided."""
    async with asyncio.timeout(20):
        while True:
            decision = (await node.routed.pipeline(pipeline)).decision
            if decision is not None and decision.totals.records >= rows:
                return
            await asyncio.sleep(0.02)


async def test_a_pipeline_over_local_files_works_where_they_are(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Its shard may move; its files do not. While their node is away it waits, losing nothing."""
    a = await cluster.start("a")
    await cluster.settled("a")
    one = PipelineId("local")
    create = c.CreatePipeline(copying(tmp_path, 1000))
    await a.routed.execute([command(one, create), command(one, c.StartPipeline())])
    await rows_written(a, one, 1000)
    b = await cluster.start("b")
    cluster.pin(a, one, NodeId("b"))
    async with asyncio.timeout(20):
        while (await b.routed.pipeline(one)).owner != "b":  # noqa: ASYNC110 - the owner is what is waited for
            await asyncio.sleep(0.02)
    with (tmp_path / "in.csv").open("a") as more:
        more.write("".join(f"{n}\n" for n in range(1000, 2000)))
    await rows_written(b, one, 2000)
    await cluster.stop("a")
    shown = await until(b, one, Phase.WAITING)
    assert "for node a" in shown.running.detail
    with (tmp_path / "in.csv").open("a") as more:
        more.write("".join(f"{n}\n" for n in range(2000, 3000)))
    await cluster.start("a")
    await rows_written(b, one, 3000)
    await b.routed.execute([command(one, c.StopPipeline())])
    await b.routed.settled(one, timedelta(seconds=10))
    assert (tmp_path / "out.csv").read_text().split() == ["n", *map(str, range(3000))]
