"""One command at a time: what the server gets, what the caller gets, and what a retry does."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest

from dataflow.client import DataFlow, Invalid, Rejected, Unavailable, Unreachable
from dataflow.client.messages import PipelineSpec, Source
from dataflow.core.errors import Code, Corrupted, Problem
from dataflow.core.spec import PipelineSpec as CoreSpec
from dataflow.core.spec import Position
from dataflow.core.spec import Sink as CoreSink
from dataflow.core.spec import Source as CoreSource
from tests.integration.client.conftest import Served
from tests.integration.client.service import (
    CONFIGURED,
    FAILED,
    PAUSED,
    RUNNING,
    STOPPED,
    Fault,
)

SPEC: dict[str, Any] = {
    "pipelineId": "flights",
    "name": "Flights",
    "source": {"sourceType": "file", "connectionString": "/a.csv", "options": {"format": "csv"}},
    "sink": {"sinkType": "console"},
}


async def test_a_mapping_is_sent_as_the_document_it_is(served: Served, df: DataFlow) -> None:
    """The SDK takes the same document as HTTP and the command line."""
    answer = await df.create(SPEC)
    assert (answer.pipeline_id, answer.status, answer.changed) == ("flights", CONFIGURED, True)
    assert served.service.pipelines["flights"].spec.source.options == '{"format":"csv"}'


@pytest.mark.parametrize(
    "spec",
    [
        CoreSpec(name="F", source=CoreSource(source_type="file"), sink=CoreSink(sink_type="x")),
        PipelineSpec(name="F", source=Source(source_type="file"), labels={"a": "b"}),
    ],
    ids=["dataclass", "message"],
)
async def test_a_spec_may_be_a_dataclass_or_a_message(
    served: Served, df: DataFlow, spec: CoreSpec | PipelineSpec
) -> None:
    """Programs that build specs want types, not mappings."""
    await df.create(spec, pipeline_id="f")
    kept = served.service.pipelines["f"].spec
    assert (kept.name, kept.source.source_type) == ("F", "file")


async def test_a_misspelt_key_is_refused_with_its_path(df: DataFlow) -> None:
    """A key that nobody reads would be a setting silently ignored."""
    with pytest.raises(Invalid, match="did you mean 'source'"):
        await df.create({"sorce": {}})


async def test_every_problem_of_a_refusal_comes_back(df: DataFlow) -> None:
    """A caller mends a document in one go, by field."""
    with pytest.raises(Invalid) as refused:
        await df.create({**SPEC, "source": {"sourceType": "bad"}})
    assert refused.value.problems == (
        Problem("source.options.format", "unknown 'cvs', one of csv, json"),
        Problem("sink", "missing; a pipeline needs one"),
    )


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        (Fault(grpc.StatusCode.NOT_FOUND, "no", "UNKNOWN_PIPELINE"), Rejected, "UNKNOWN_PIPELINE"),
        (Fault(grpc.StatusCode.DATA_LOSS, "no", "CORRUPTED"), Corrupted, "CORRUPTED"),
        (
            Fault(grpc.StatusCode.FAILED_PRECONDITION, "no", "NEWER"),
            Rejected,
            "FORBIDDEN_TRANSITION",
        ),
        (Fault(grpc.StatusCode.PERMISSION_DENIED, "no", ""), Rejected, "PERMISSION"),
    ],
    ids=lambda value: value.reason if isinstance(value, Fault) else None,
)
async def test_an_error_keeps_its_kind_and_code(
    served: Served, df: DataFlow, *, fault: Fault, kind: type[Exception], code: str
) -> None:
    """Programs branch on kind and code, also of a server that is newer than they are."""
    served.service.faults["GetHealth"].append(fault)
    with pytest.raises(kind) as raised:
        await df.health("flights")
    assert getattr(raised.value, "code", None) == Code(code)


async def test_a_lost_answer_is_asked_for_with_the_same_command_id(
    served: Served, df: DataFlow
) -> None:
    """The work was done and the answer lost: a second command would do it twice."""
    served.service.faults["CreatePipeline"] += [
        Fault(after_work=True, reason=""),
        Fault(grpc.StatusCode.ABORTED, "unknown", "OUTCOME_UNKNOWN"),
    ]
    answer = await df.create(SPEC)
    assert answer.changed
    assert len(served.service.seen["CreatePipeline"]) == 3
    assert len(set(served.service.seen["CreatePipeline"])) == 1
    assert served.service.works["CreatePipeline"] == 1


async def test_a_callers_own_command_id_is_kept(served: Served, df: DataFlow) -> None:
    """Only the caller can retry across two of its own processes."""
    await df.create(SPEC, command_id="mine")
    assert served.service.seen["CreatePipeline"] == ["mine"]


async def test_commands_have_different_ids(served: Served, df: DataFlow) -> None:
    """An id used twice would get the first one's answer."""
    await df.create(SPEC)
    await df.start("flights")
    await df.stop("flights")
    await df.start("flights")
    assert len(set(served.service.seen["StartPipeline"])) == 2


async def test_a_refusal_is_not_tried_again(served: Served, df: DataFlow) -> None:
    """The same request would be refused again."""
    with pytest.raises(Rejected):
        await df.start("nobody")
    assert len(served.service.seen["StartPipeline"]) == 1


async def test_retries_end_with_the_deadline(served: Served) -> None:
    """No endless wait; the error is the server's last word."""
    served.service.faults["GetHealth"] += [Fault(message="busy")] * 100
    async with DataFlow(served.address, timeout=timedelta(milliseconds=300)) as df:
        with pytest.raises(Unavailable, match="busy"):
            await df.health("flights")
    assert 2 <= len(served.service.seen["GetHealth"]) <= 20


async def test_the_servers_wish_for_a_pause_is_honoured(served: Served) -> None:
    """A server that says when to come back is not asked before, and not past the deadline."""
    served.service.faults["GetHealth"].append(Fault(retry_after=timedelta(minutes=1)))
    async with DataFlow(served.address, timeout=timedelta(seconds=5)) as df:
        with pytest.raises(Unavailable) as raised:
            await df.health("flights")
    assert raised.value.retry_after == timedelta(minutes=1)


async def test_no_server_is_unreachable_and_says_where() -> None:
    """The first thing to check is the address."""
    async with DataFlow("127.0.0.1:1", connect_timeout=timedelta(milliseconds=200)) as df:
        with pytest.raises(Unreachable, match=r"cannot reach 127\.0\.0\.1:1"):
            await df.health("flights")


async def test_each_command_reaches_its_rpc(served: Served, df: DataFlow) -> None:
    """A method wired to its neighbour's rpc would stop what should pause."""
    await df.create(SPEC)
    kept = served.service.pipelines["flights"]
    seen = []
    for command in (df.start, df.pause, df.resume, df.stop):
        await command("flights")
        seen.append(kept.status)
    assert seen == [RUNNING, PAUSED, RUNNING, STOPPED]
    kept.status = FAILED
    await df.reset("flights")
    assert kept.status == CONFIGURED
    await df.delete("flights")
    assert [event.tags["type"] for event in kept.events][-2:] == [
        "PipelineReset",
        "PipelineDeleted",
    ]


async def test_an_update_carries_its_position(served: Served, df: DataFlow) -> None:
    """Without it, a spec that reads elsewhere is refused with the field's name."""
    await df.create(SPEC)
    moved = {**SPEC, "source": {"sourceType": "file", "connectionString": "/b.csv"}}
    with pytest.raises(Rejected) as refused:
        await df.update("flights", moved)
    assert (refused.value.code, refused.value.field) == (Code.POSITION_REQUIRED, "position")
    answer = await df.update("flights", moved, position=Position.BEGINNING)
    assert (answer.version, served.service.pipelines["flights"].version) == (2, 2)


async def test_an_update_of_another_pipelines_document_is_refused(df: DataFlow) -> None:
    """The id in the document and the id in the call would disagree."""
    with pytest.raises(Rejected, match="pipelineId"):
        await df.update("other", SPEC)


async def test_rollback_and_replay_carry_what_they_were_told(df: DataFlow) -> None:
    """Their arguments decide where reading goes on."""
    await df.create(SPEC)
    back = await df.rollback("flights", 1, with_checkpoint=True)
    assert (back.version, back.message) == (2, "checkpoint True")
    assert (await df.replay("flights", sequence=7)).message == "sequence 7 time "
    moment = datetime(2026, 5, 1, tzinfo=UTC)
    assert (await df.replay("flights", time=moment)).message.endswith("2026-05-01T00:00:00Z")
    with pytest.raises(Rejected, match="not both"):
        await df.replay("flights", sequence=7, time=moment)
    with pytest.raises(Rejected, match="zone"):
        await df.replay("flights", time=moment.replace(tzinfo=None))


async def test_a_client_that_is_not_open_says_so() -> None:
    """The commonest mistake with a client that is a context manager."""
    with pytest.raises(RuntimeError, match="async with"):
        await DataFlow("127.0.0.1:1").health("flights")


async def test_what_is_no_spec_is_a_type_error(df: DataFlow) -> None:
    """The name of a file is the usual mistake, and no attribute of it explains anything."""
    with pytest.raises(TypeError, match=r"not 'flights\.yaml'"):
        await df.create("flights.yaml")  # type: ignore[arg-type]  # the mistake
