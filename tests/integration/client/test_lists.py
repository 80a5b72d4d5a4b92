"""Questions, page by page."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from dataflow.client import DataFlow, Rejected
from dataflow.client.messages import Status
from dataflow.core.errors import Waiting
from dataflow.core.state import Status as Word
from tests.integration.client.conftest import Served
from tests.integration.client.service import Fault

SPEC = {
    "name": "N",
    "labels": {"team": "a"},
    "source": {"sourceType": "file"},
    "sink": {"sinkType": "console"},
}


@pytest.fixture
async def five(df: DataFlow) -> DataFlow:
    """Return a client of a server with five pipelines, of which p-3 runs."""
    for n in range(5):
        await df.create({**SPEC, "labels": {"n": str(n)}}, pipeline_id=f"p-{n}")
    await df.start("p-3")
    return df


async def test_a_list_has_every_page(served: Served, five: DataFlow) -> None:
    """A caller iterates over pipelines, not over pages."""
    found = [p.pipeline_id async for p in five.list(page_size=2)]
    assert found == [f"p-{n}" for n in range(5)]
    assert served.service.works["ListPipelines"] == 3


async def test_a_list_can_be_narrowed(five: DataFlow) -> None:
    """Each filter has an effect of its own."""
    assert [p.pipeline_id async for p in five.list(status=Word.RUNNING)] == ["p-3"]
    assert [p.pipeline_id async for p in five.list(label="n=2")] == ["p-2"]
    assert [p.pipeline_id async for p in five.list(q="4")] == ["p-4"]


async def test_events_versions_and_dead_letters_have_every_page(
    served: Served, five: DataFlow
) -> None:
    """They page in the same manner."""
    served.service.pipelines["p-3"].letters = 5
    events = [e.sequence async for e in five.events("p-3", page_size=1)]
    letters = [letter.ordinal async for letter in five.dead_letters("p-3", page_size=2)]
    versions = [v.version async for v in five.versions("p-3")]
    assert (events, letters, versions) == ([1, 2], [0, 1, 2, 3, 4], [1])
    started = five.events("p-3", after=1, event_type="PipelineStarted")
    assert [e.sequence async for e in started] == [2]


async def test_dead_letters_are_grouped_replayed_and_purged(served: Served, five: DataFlow) -> None:
    """Each answers what the server says."""
    served.service.pipelines["p-3"].letters = 5
    (cause,) = await five.dead_letter_causes("p-3")
    replayed = await five.replay_dead_letters("p-3", ids=["1", "2"], step="t1", set={"a": "1"})
    purged = await five.purge_dead_letters("p-3", all=True)
    assert (cause.letters, replayed.letters, replayed.replay_id, purged.letters) == (5, 2, "t1", 5)


async def test_a_pipeline_is_shown_at_a_moment(five: DataFlow) -> None:
    """Time travel takes a number or a time."""
    assert (await five.get("p-3")).status == Status.STATUS_RUNNING
    assert (await five.get("p-3", at=7)).reason == "at 7"
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    assert (await five.get("p-3", at=moment)).reason == "at 2026-05-01T00:00:00+00:00"


async def test_metrics_and_health_are_of_their_pipeline(five: DataFlow) -> None:
    """Both name what they are of."""
    assert (await five.metrics("p-3")).pipeline_id == "p-3"
    assert (await five.health("p-3")).health == "healthy"


async def test_validate_returns_problems_also_of_what_is_no_spec(df: DataFlow) -> None:
    """A misspelt field must not hide what the server says of the others."""
    assert (await df.validate(SPEC)).valid
    wrong = await df.validate({**SPEC, "source": {"sourceType": "bad"}})
    assert [p.field for p in wrong.problems] == ["source.options.format"]
    misread = await df.validate({**SPEC, "sorce": {}, "source": {"sourceType": "bad"}})
    assert not misread.valid
    assert [p.field for p in misread.problems] == ["sorce", "source.options.format"]
    assert not (await df.validate({**SPEC, "sorce": {}})).valid


async def test_a_preview_whose_input_is_not_there_says_so_at_once(
    served: Served, df: DataFlow
) -> None:
    """The file may come in an hour; whoever looks wants to know now."""
    served.service.faults["PreviewPipeline"].append(Fault(message="no files", reason="WAITING"))
    with pytest.raises(Waiting, match="no files"):
        await df.preview(SPEC)
    assert len(served.service.seen["PreviewPipeline"]) == 1


async def test_a_server_that_is_stopping_is_asked_again(served: Served, df: DataFlow) -> None:
    """It says that it waits, and its successor answers."""
    await df.create(SPEC, pipeline_id="a")
    served.service.faults["StartPipeline"].append(Fault(message="stopping", reason="WAITING"))
    served.service.faults["WatchPipelines"].append(Fault(message="stopping", reason="WAITING"))
    assert (await df.start("a")).changed
    async for change in df.watch("a", after=1):
        assert change.event.sequence == 2
        break


async def test_preview_is_of_a_spec_or_of_a_pipeline(five: DataFlow) -> None:
    """Either, and never a guess between the two."""
    assert len((await five.preview(SPEC, records=3)).steps[0].records) == 3
    assert len((await five.preview(pipeline_id="p-3")).steps[0].records) == 10
    given = await five.preview(pipeline_id="p-3", given={"source": [{"n": 1}, {}]})
    assert list(given.steps[0].records) == ['{"n":1}', "{}"]
    for wrong in ({}, {"spec": SPEC, "pipeline_id": "p-3"}):
        with pytest.raises(Rejected, match="either"):
            await five.preview(**wrong)  # type: ignore[arg-type]  # the mistake itself
