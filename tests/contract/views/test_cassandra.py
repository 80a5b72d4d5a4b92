"""What the views in Cassandra add: several nodes write and read them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from cassandra.cluster import Session

from dataflow.core import events as e
from dataflow.core.ids import PipelineId, Sequence, ShardId, Version
from dataflow.core.state import Status
from dataflow.journal.cassandra import Options, by_pipeline
from dataflow.views.cassandra import Cassandra
from dataflow.views.contract import Projected, Query

Owner = Any
"""``conftest.Owner``: events of one shard, in order."""
Opener = Callable[[], Awaitable[Cassandra]]

SHARD = ShardId(3)
P = PipelineId("p")


@pytest.fixture
async def node(keyspace: Options) -> AsyncIterator[Opener]:
    """Open the views as one more node does."""
    async with AsyncExitStack() as stack:

        async def opened() -> Cassandra:
            views = await Cassandra.open(keyspace)
            stack.push_async_callback(views.close)
            return views

        yield opened


async def lines(views: Cassandra, query: Query | None = None) -> list[tuple[str, str]]:
    """Return ids and statuses of a page."""
    page, _ = await views.pipelines(query or Query())
    return [(line.pipeline_id, line.status.value) for line in page]


async def test_every_node_shows_what_an_owner_applied(node: Opener, owner: Owner) -> None:
    """A list is asked of any node."""
    writing, reading = await node(), await node()
    writing.apply(owner("p", e.PipelineCreated(owner.spec()), e.PipelineStarted()))
    await writing.settled()
    assert await lines(reading) == [("p", "running")]
    assert await reading.applied_offset(SHARD) == 2
    assert await reading.applied_offset(ShardId(4)) == 0


async def test_a_former_owners_late_write_loses(node: Opener, owner: Owner) -> None:
    """It was on its way while the shard changed hands; the later event is what is true."""
    former, current = await node(), await node()
    made = owner("p", e.PipelineCreated(owner.spec()), e.PipelineStarted(), e.PipelineStopped())
    current.apply(made)
    await current.settled()
    former.apply(made[:2])
    await former.settled()
    assert await lines(current) == [("p", "stopped")]
    assert await current.applied_offset(SHARD) == 3
    assert (await current.pipelines(Query(status=Status.STOPPED)))[1] == 1


async def test_a_new_owner_counts_what_is_there(node: Opener, owner: Owner) -> None:
    """It has seen none of the pipelines' earlier events."""
    former = await node()
    former.apply(owner("a", e.PipelineCreated(owner.spec()), e.PipelineStarted()))
    former.apply(owner("b", e.PipelineCreated(owner.spec()), e.PipelineStarted()))
    await former.settled()
    current = await node()
    assert await current.applied_offset(SHARD) == 4
    current.apply(owner("b", e.PipelineStopped()))
    current.apply(owner("c", e.PipelineCreated(owner.spec())))
    await current.settled()
    totals = {status: (await former.pipelines(Query(status=status)))[1] for status in Status}
    assert {status: total for status, total in totals.items() if total} == {
        Status.RUNNING: 1,
        Status.STOPPED: 1,
        Status.CONFIGURED: 1,
    }


async def test_an_owner_again_counts_what_another_one_wrote(node: Opener, owner: Owner) -> None:
    """What it remembers of the shard is from an earlier time."""
    first, second = await node(), await node()
    first.apply(owner("a", e.PipelineCreated(owner.spec())))
    await first.settled()
    await second.applied_offset(SHARD)
    second.apply(owner("a", e.PipelineStarted()))
    await second.settled()
    await first.applied_offset(SHARD)
    first.apply(owner("b", e.PipelineCreated(owner.spec())))
    await first.settled()
    assert (await first.pipelines(Query(status=Status.RUNNING)))[1] == 1


async def test_a_total_reads_no_lines(
    node: Opener, owner: Owner, cassandra_session: Session, keyspace: Options
) -> None:
    """With millions of pipelines a count by reading them would take minutes."""
    views = await node()
    for number in range(5):
        views.apply(owner(f"p{number}", e.PipelineCreated(owner.spec())))
    await views.settled()
    cassandra_session.execute(f"TRUNCATE {keyspace.keyspace}.registry")
    assert await views.pipelines(Query()) == ([], 5)


def spread(owner: Owner, count: int) -> list[Projected]:
    """Return the creation of pipelines in many shards, in no order of ids."""
    made = []
    for number in range(count):
        name = f"p{number * 7919 % count:05}"
        (one,) = owner(name, e.PipelineCreated(owner.spec(labels={"team": f"t{number % 3}"})))
        made.append(replace(one, shard=ShardId(number % 200)))
    return made


async def test_pages_go_through_every_shard_in_order(node: Opener, owner: Owner) -> None:
    """However the pipelines lie in the parts: each once, in order of ids."""
    views = await node()
    views.apply(spread(owner, 1500))
    await views.settled()
    seen: list[str] = []
    after = PipelineId("")
    while True:
        page, total = await views.pipelines(Query(after=after, limit=400))
        if not page:
            break
        assert total == 1500
        seen += [line.pipeline_id for line in page]
        after = page[-1].pipeline_id
    assert seen == [f"p{number:05}" for number in range(1500)]


async def test_a_search_finds_the_first_that_match(node: Opener, owner: Owner) -> None:
    """It reads every line and keeps a page: the smallest ids behind the last page's."""
    views = await node()
    made = spread(owner, 1500)
    views.apply(made)
    await views.settled()
    page, total = await views.pipelines(Query(label="team=t1", after=PipelineId("p00700"), limit=5))
    expected = sorted(
        one.event.pipeline_id for one in made if one.state.spec.labels["team"] == "t1"
    )
    assert [line.pipeline_id for line in page] == [n for n in expected if n > "p00700"][:5]
    assert total == len(expected) == 500


async def test_events_are_found_over_several_partitions(
    node: Opener, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline that runs for years has more events than one partition should hold."""
    monkeypatch.setattr(by_pipeline, "PART_OFFSETS", 4)
    monkeypatch.setattr(by_pipeline, "PAGE_PLACES", 2)
    views = await node()
    views.apply(owner("p", e.PipelineCreated(owner.spec())))
    for version in range(2, 12):
        views.apply(owner("p", e.ConfigUpdated(version=Version(version), spec=owner.spec())))
    views.apply(owner("p", e.PipelineStarted()))
    await views.settled()
    everything = await views.events(P, (), Sequence(0), 100)
    assert [entry.sequence for entry in everything] == list(range(1, 13))
    for after in range(13):
        page = await views.events(P, (), Sequence(after), 3)
        assert [entry.sequence for entry in page] == list(range(after + 1, 13))[:3]
    created = await views.latest(P, ["PipelineCreated"], Sequence(100))
    assert created == everything[0]
    for entry in everything:
        moment = entry.time + timedelta(seconds=1)
        assert await views.latest(P, (), moment) == entry
        assert await views.latest(P, (), entry.sequence) == entry
    assert await views.latest(P, (), everything[0].time - timedelta(seconds=1)) is None


async def test_events_applied_again_move_nothing_back(
    node: Opener, owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new owner replays from far back; the newest partition stays the newest."""
    monkeypatch.setattr(by_pipeline, "PART_OFFSETS", 2)
    views = await node()
    made = owner("p", e.PipelineCreated(owner.spec()), *[e.PipelineStarted()] * 6)
    views.apply(made)
    await views.settled()
    views.apply(made[:3])
    await views.settled()
    entry = await views.latest(P, (), Sequence(100))
    assert entry is not None
    assert entry.sequence == 7
