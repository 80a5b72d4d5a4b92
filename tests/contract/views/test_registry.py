"""The list of pipelines: its lines, filters and pages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from dataflow.core import events as e
from dataflow.core.errors import Unavailable
from dataflow.core.ids import PipelineId, Version
from dataflow.core.spec import Source
from dataflow.core.state import Status
from dataflow.views.contract import Projected, Query, Summary, Views

Owner = Any
"""``conftest.Owner``: events of one shard, in order."""


async def listed(views: Views, query: Query | None = None) -> list[str]:
    """Return the ids of a page."""
    await views.settled()
    return [line.pipeline_id for line in (await views.pipelines(query or Query()))[0]]


async def fill(views: Views, owner: Owner) -> None:
    """Apply five pipelines that differ in all that can be asked for."""
    made: list[Projected] = [
        *owner("alpha", e.PipelineCreated(owner.spec("Alpha", labels={"team": "x", "env": "p"}))),
        *owner("beta", e.PipelineCreated(owner.spec("Beta", labels={"team": "y"}))),
        *owner("gamma", e.PipelineCreated(owner.spec("Straße 100%", description="of a_b"))),
        *owner("delta", e.PipelineCreated(owner.spec("Delta")), e.PipelineStarted()),
        *owner("gone", e.PipelineCreated(owner.spec("Gone")), e.PipelineDeleted()),
    ]
    views.apply(made)


async def test_a_line_shows_the_latest_state(views: Views, owner: Owner) -> None:
    """Every field of the list comes from here; nothing is asked of a pipeline itself."""
    first = owner.spec("First", labels={"team": "x"})
    second = owner.spec("Second", labels={"team": "y"}, source=Source("push"))
    views.apply(owner("p", e.PipelineCreated(first), e.PipelineStarted()))
    views.apply(owner("p", e.ConfigUpdated(version=Version(2), spec=second)))
    await views.settled()
    lines, total = await views.pipelines(Query())
    expected = Summary(
        pipeline_id=PipelineId("p"),
        name="Second",
        status=Status.RUNNING,
        labels={"team": "y"},
        source_type="push",
        sink_type="console",
        version=Version(2),
        created_at=datetime(2026, 1, 2, 12, 0, tzinfo=UTC),
        updated_at=datetime(2026, 1, 2, 12, 2, tzinfo=UTC),
    )
    assert (list(lines), total) == ([expected], 1)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(), ["alpha", "beta", "delta", "gamma"]),
        (Query(status=Status.RUNNING), ["delta"]),
        (Query(status=Status.DELETED), ["gone"]),
        (Query(label="team=x"), ["alpha"]),
        (Query(label="team"), ["alpha", "beta"]),
        (Query(label="team="), []),
        (Query(label="tea"), []),
        (Query(label="x"), []),
        (Query(text="ALPH"), ["alpha"]),
        (Query(text="STRASSE"), ["gamma"]),
        (Query(text="100%"), ["gamma"]),
        (Query(text="a_b"), ["gamma"]),
        (Query(text="_"), ["gamma"]),
        (Query(text="ta", status=Status.CONFIGURED, label="team=y"), ["beta"]),
        (Query(text="nothing"), []),
    ],
)
async def test_a_list_holds_what_matches(
    views: Views, owner: Owner, query: Query, found: list[str]
) -> None:
    """Filters are exact, joined by «and», and no character in them is a wildcard."""
    await fill(views, owner)
    assert await listed(views, query) == found
    assert (await views.pipelines(query))[1] == len(found)


async def test_pages_follow_each_other(views: Views, owner: Owner) -> None:
    """By id, so that a pipeline created meanwhile shifts nothing; the total stays that of all."""
    await fill(views, owner)
    await views.settled()
    first = await views.pipelines(Query(limit=3))
    rest = await views.pipelines(Query(limit=3, after=first[0][-1].pipeline_id))
    names = [[line.pipeline_id for line in page] for page, _ in (first, rest)]
    assert names == [["alpha", "beta", "delta"], ["gamma"]]
    assert (first[1], rest[1]) == (4, 4)


async def test_an_event_applied_again_changes_nothing(views: Views, owner: Owner) -> None:
    """After a crash the log's tail is applied once more, from further back than it was seen."""
    made = owner("p", e.PipelineCreated(owner.spec()), e.PipelineStarted(), e.PauseRequested())
    views.apply(made)
    await views.settled()
    views.apply(made[:2])
    await views.settled()
    (line,), _ = await views.pipelines(Query())
    assert line.updated_at == made[-1].event.time
    assert len(await views.events(PipelineId("p"), (), made[0].event.sequence, 10)) == 2


async def test_everything_handed_over_before_shows(views: Views, owner: Owner) -> None:
    """Whoever created a pipeline finds it in the list at once."""
    for number in range(50):
        views.apply(owner(f"p{number:02}", e.PipelineCreated(owner.spec())))
        assert len(await listed(views, Query(limit=100))) == number + 1


async def test_closed_views_refuse_everything(views: Views) -> None:
    """Whoever still asks gets an error at once and never waits."""
    await views.close()
    await views.close()
    calls: list[Callable[[], Any]] = [
        views.settled,
        lambda: views.pipelines(Query()),
        lambda: views.events(PipelineId("p"), (), 0, 1),  # type: ignore[arg-type]  # a number is a number
        lambda: views.versions(PipelineId("p"), Version(0), 1),
        lambda: views.latest(PipelineId("p"), (), 1),  # type: ignore[arg-type]  # a number is a number
    ]
    for call in calls:
        with pytest.raises(Unavailable, match="closed"):
            await call()
