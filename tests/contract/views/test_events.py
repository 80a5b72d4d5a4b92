"""The index of events: by type, by version, by moment."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

import pytest

from dataflow.core import events as e
from dataflow.core.ids import Offset, PipelineId, Sequence, ShardId, Version
from dataflow.views.contract import Entry, Views

Owner = Any
"""``conftest.Owner``: events of one shard, in order."""

P = PipelineId("p")


@pytest.fixture
async def filled(views: Views, owner: Owner) -> Views:
    """Apply the life of one pipeline, with a neighbour's events between."""
    views.apply(owner("p", e.PipelineCreated(owner.spec())))
    views.apply(owner("other", e.PipelineCreated(owner.spec()), e.PipelineStarted()))
    for version in (2, 3):
        spec = owner.spec(f"Number {version}")
        views.apply(owner("p", e.ConfigUpdated(version=Version(version), spec=spec)))
    views.apply(owner("p", e.PipelineStarted(), e.CheckpointUpdated(), e.PipelineStopped()))
    await views.settled()
    return views


async def test_an_entry_leads_to_its_event(filled: Views) -> None:
    """Shard and offset are its place in the journal, the sequence that in its history."""
    found = await filled.events(P, ["ConfigUpdated"], Sequence(2), 10)
    start = (await filled.events(P, (), Sequence(0), 1))[0].time
    expected = Entry(
        pipeline_id=P,
        sequence=Sequence(3),
        type="ConfigUpdated",
        time=start + timedelta(minutes=4),
        version=Version(3),
        shard=ShardId(3),
        offset=Offset(5),
    )
    assert list(found) == [expected]


@pytest.mark.parametrize(
    ("types", "after", "limit", "found"),
    [
        ((), 0, 10, [1, 2, 3, 4, 5, 6]),
        ((), 2, 3, [3, 4, 5]),
        (["ConfigUpdated"], 0, 10, [2, 3]),
        (["ConfigUpdated"], 0, 1, [2]),
        (["PipelineStopped", "PipelineCreated"], 0, 10, [1, 6]),
        (["PipelineFailed"], 0, 10, []),
    ],
)
async def test_events_are_found_by_type(
    filled: Views, types: Collection[str], after: int, *, limit: int, found: list[int]
) -> None:
    """In order, behind a sequence number, one pipeline's only."""
    page = await filled.events(P, types, Sequence(after), limit)
    assert [entry.sequence for entry in page] == found


@pytest.mark.parametrize(
    ("before", "limit", "found"),
    [(0, 10, [3, 2, 1]), (3, 10, [2, 1]), (0, 1, [3]), (1, 10, [])],
)
async def test_versions_come_latest_first(
    filled: Views, before: int, limit: int, found: list[int]
) -> None:
    """Creation is the first version; starting makes none."""
    page = await filled.versions(P, Version(before), limit)
    assert [entry.version for entry in page] == found


@pytest.mark.parametrize(
    ("types", "until", "found"),
    [
        ((), 100, 6),
        ((), 3, 3),
        (["CheckpointUpdated", "PipelineStopped"], 5, 5),
        (["CheckpointUpdated", "PipelineStopped"], 6, 6),
        (["CheckpointUpdated", "PipelineStopped"], 4, None),
    ],
)
async def test_the_last_event_up_to_another_is_found(
    filled: Views, types: Collection[str], until: int, found: int | None
) -> None:
    """Replay begins at the checkpoint that was last audited by then."""
    entry = await filled.latest(P, types, Sequence(until))
    assert (entry and entry.sequence) == found


@pytest.mark.parametrize(("minutes", "found"), [(-1, None), (0, 1), (3.9, 2), (4, 3), (99, 6)])
async def test_the_last_event_up_to_a_moment_is_found(
    filled: Views, minutes: float, found: int | None
) -> None:
    """To the moment itself: an event counts from its own time on."""
    start: datetime = (await filled.events(P, (), Sequence(0), 1))[0].time
    entry = await filled.latest(P, (), start + timedelta(minutes=minutes))
    assert (entry and entry.sequence) == found


async def test_an_unknown_pipeline_has_no_events(filled: Views) -> None:
    """Asking is no write: an unknown name leaves nothing behind."""
    nobody = PipelineId("nobody")
    assert list(await filled.events(nobody, (), Sequence(0), 10)) == []
    assert list(await filled.versions(nobody, Version(0), 10)) == []
    assert await filled.latest(nobody, (), Sequence(9)) is None
