"""The API over gRPC: every rpc by a real client, with errors, deadlines, health and reflection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from prometheus_client import CollectorRegistry

from dataflow.core.errors import Unavailable
from dataflow.server.rpc import MESSAGE_BYTES_MAX
from dataflow.server.services import SERVED
from dataflow.v1 import event_pb2
from dataflow.v1 import pipeline_pb2 as p
from dataflow.v1.pipeline_pb2_grpc import PipelineServiceStub
from dataflow.wire import json
from tests.integration.server.conftest import EXAMPLE, Server

if TYPE_CHECKING:  # it exists for type checkers alone
    from dataflow.v1.pipeline_pb2_grpc import PipelineServiceAsyncStub


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> PipelineServiceAsyncStub:
    """Speak the service."""
    return PipelineServiceStub(channel)


def _create(pipeline: str = "flights", command: str = "") -> p.CreatePipelineRequest:
    request = json.parse(EXAMPLE, p.CreatePipelineRequest)
    request.pipeline_id = pipeline
    request.command_id = command
    return request


def _details(error: grpc.aio.AioRpcError) -> dict[str, Any]:
    """Return the details of an error by the names of their types, as client libraries do."""
    trailers = dict(error.trailing_metadata() or ())
    status = status_pb2.Status.FromString(cast("bytes", trailers["grpc-status-details-bin"]))
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    found: dict[str, Any] = {}
    for detail in status.details:
        cls = getattr(error_details_pb2, detail.TypeName().rpartition(".")[2])
        message = cls()
        detail.Unpack(message)
        found[cls.__name__] = message
    return found


async def test_a_pipeline_lives_over_grpc(stub: PipelineServiceAsyncStub) -> None:
    """Create, start, stop, list, delete: the words of the core, as numbers of the enum."""
    created = await stub.CreatePipeline(_create())
    assert (created.pipeline_id, created.changed) == ("flights", True)
    named = p.StartPipelineRequest(pipeline_id="flights")
    assert (await stub.StartPipeline(named)).status == event_pb2.STATUS_RUNNING
    stopped = await stub.StopPipeline(p.StopPipelineRequest(pipeline_id="flights", reason="r"))
    assert (stopped.status, stopped.message) == (event_pb2.STATUS_STOPPED, "stopped: r")
    assert (await stub.ListPipelines(p.ListPipelinesRequest())).total == 1
    deleted = await stub.DeletePipeline(p.DeletePipelineRequest(pipeline_id="flights"))
    assert deleted.status == event_pb2.STATUS_DELETED


async def test_an_error_carries_its_code_and_its_fields(stub: PipelineServiceAsyncStub) -> None:
    """As google.rpc.Status, which every client library reads."""
    request = _create()
    request.source.source_type = "fil"
    request.name = "n" * 201
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.CreatePipeline(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    details = _details(caught.value)
    assert (details["ErrorInfo"].reason, details["ErrorInfo"].domain) == ("INVALID", "dataflow")
    fields = [violation.field for violation in details["BadRequest"].field_violations]
    assert fields == ["name", "source.sourceType"]


async def test_a_wait_that_is_known_is_told(stub: PipelineServiceAsyncStub, server: Server) -> None:
    """RetryInfo, which some clients follow by themselves."""
    server.backend.raising = Unavailable("full", retry_after=timedelta(seconds=1.5))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ListPipelines(p.ListPipelinesRequest())
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert _details(caught.value)["RetryInfo"].retry_delay.ToMilliseconds() == 1500


async def test_what_nobody_expected_leaves_as_an_incident(
    stub: PipelineServiceAsyncStub, server: Server
) -> None:
    """No stack trace, no path."""
    server.backend.raising = RuntimeError("/secret/path")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.ListPipelines(p.ListPipelinesRequest())
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda r: setattr(r.options, "on_error", 99),
        lambda r: setattr(r.options.batch_timeout, "seconds", 1 << 62),
        lambda r: setattr(r.options.batch_timeout, "seconds", -1),
    ],
)
async def test_a_value_that_stands_for_nothing_is_refused(
    stub: PipelineServiceAsyncStub, spoil: Callable[[p.CreatePipelineRequest], None]
) -> None:
    """A newer or a hostile client can send any number."""
    request = _create()
    spoil(request)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.CreatePipeline(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_metadata_names_the_actor_and_the_command(
    stub: PipelineServiceAsyncStub, server: Server
) -> None:
    """As the headers of HTTP do."""
    metadata = (("x-dataflow-actor", "ada"), ("idempotency-key", "k1"))
    await stub.CreatePipeline(_create(), metadata=metadata)
    again = await stub.CreatePipeline(_create(), metadata=metadata)
    assert again.changed
    assert {(c.actor, c.command_id) for c in server.backend.commands} == {("ada", "k1")}


async def test_a_generated_id_is_the_same_for_a_retry(stub: PipelineServiceAsyncStub) -> None:
    """It derives from caller and command id."""
    first = await stub.CreatePipeline(_create("", "c1"))
    again = await stub.CreatePipeline(_create("", "c1"))
    other = await stub.CreatePipeline(_create("", "c2"))
    assert first.pipeline_id == again.pipeline_id != other.pipeline_id


async def test_a_deadline_ends_a_call(stub: PipelineServiceAsyncStub, server: Server) -> None:
    """And what it asked for may still happen, which the caller is told."""
    server.backend.delay = 5
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.CreatePipeline(_create(), timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_message_of_more_than_16_mebibytes_is_refused(
    stub: PipelineServiceAsyncStub, server: Server
) -> None:
    """The limit of a batch of records, with its envelope."""
    await stub.CreatePipeline(_create())
    batch = p.IngestBatchRequest(
        pipeline_id="flights", batch_id="b", content_type="application/x-ndjson"
    )
    batch.records = b" " * (MESSAGE_BYTES_MAX - batch.ByteSize() - 5)
    assert batch.ByteSize() == MESSAGE_BYTES_MAX
    assert not (await stub.IngestBatch(batch)).duplicate
    batch.records += b" "
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.IngestBatch(batch)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert len(server.backend.batches) == 1


async def test_metadata_has_a_limit(stub: PipelineServiceAsyncStub) -> None:
    """16 KiB, as the headers of HTTP have."""
    fits = stub.ListPipelines(p.ListPipelinesRequest(), metadata=(("x", "a" * 15_000),))
    assert (await fits).total == 0
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.ListPipelines(p.ListPipelinesRequest(), metadata=(("x", "a" * 17_000),))


async def _messages(count: int, size: int) -> AsyncIterator[p.ExecuteRequest]:
    for message in range(count):
        creates = [p.Command(create=_create(f"p{message}-{n}")) for n in range(size)]
        yield p.ExecuteRequest(commands=creates)


async def test_commands_in_bulk_are_answered_in_their_order(
    stub: PipelineServiceAsyncStub, server: Server
) -> None:
    """With some of them carried out at once, but no more than four messages of a stream."""
    server.backend.delay = 0.02
    answers = [answer async for answer in stub.Execute(_messages(10, 3))]
    ids = [entry.pipeline_id for answer in answers for entry in answer.answers]
    assert ids == [f"p{message}-{n}" for message in range(10) for n in range(3)]
    assert server.backend.in_flight_most == 4
    assert [c.pipeline_id for c in server.backend.commands] == ids


async def test_a_refused_command_leaves_its_neighbours_alone(
    stub: PipelineServiceAsyncStub,
) -> None:
    """Whether the server or the rules of the lifecycle refuse it."""
    bad = _create("bad")
    bad.source.source_type = "fil"
    commands = [
        p.Command(create=_create("a")),
        p.Command(create=bad),
        p.Command(),
        p.Command(start=p.StartPipelineRequest(pipeline_id="nobody")),
        p.Command(start=p.StartPipelineRequest(pipeline_id="a")),
    ]

    async def once() -> AsyncIterator[p.ExecuteRequest]:
        yield p.ExecuteRequest(commands=commands)

    [answer] = [answer async for answer in stub.Execute(once())]
    codes = [entry.refusal.code for entry in answer.answers]
    assert codes == ["", "INVALID", "INVALID", "UNKNOWN_PIPELINE", ""]
    assert answer.answers[1].refusal.problems[0].field == "source.sourceType"
    assert answer.answers[4].status == event_pb2.STATUS_RUNNING


async def test_one_idempotency_key_is_not_that_of_every_command_in_bulk(
    stub: PipelineServiceAsyncStub, server: Server
) -> None:
    """The second command would be a reuse of the first one's id."""
    call = stub.Execute(_messages(1, 2), metadata=(("idempotency-key", "k"),))
    [answer] = [answer async for answer in call]
    assert [entry.changed for entry in answer.answers] == [True, True]
    assert "k" not in {command.command_id for command in server.backend.commands}


async def test_too_many_commands_in_a_message_end_the_stream(
    stub: PipelineServiceAsyncStub,
) -> None:
    """10,000 are taken, one more is not."""

    async def once(count: int) -> AsyncIterator[p.ExecuteRequest]:
        yield p.ExecuteRequest(commands=[p.Command()] * count)

    [answer] = [answer async for answer in stub.Execute(once(10_000))]
    assert len(answer.answers) == 10_000
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        _ = [answer async for answer in stub.Execute(once(10_001))]
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_batches_are_answered_one_by_one(stub: PipelineServiceAsyncStub) -> None:
    """A refused one tells why, and the stream goes on."""
    await stub.CreatePipeline(_create())

    async def batches() -> AsyncIterator[p.IngestBatchesRequest]:
        for pipeline in ("flights", "nobody", "flights"):
            yield p.IngestBatchesRequest(
                batch=p.IngestBatchRequest(
                    pipeline_id=pipeline,
                    batch_id="b",
                    content_type="application/json",
                    records=b"[{}]",
                )
            )

    answers = [answer async for answer in stub.IngestBatches(batches())]
    assert [answer.refusal.code for answer in answers] == ["", "UNKNOWN_PIPELINE", ""]
    assert [answer.batch.duplicate for answer in answers] == [False, False, True]


async def test_a_batch_of_an_unknown_kind_is_refused(stub: PipelineServiceAsyncStub) -> None:
    """With the kinds there are."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.IngestBatch(p.IngestBatchRequest(pipeline_id="x", records=b"[]"))
    [violation] = _details(caught.value)["BadRequest"].field_violations
    assert violation.field == "contentType"


async def test_what_happens_is_told_to_watchers(
    stub: PipelineServiceAsyncStub, server: Server
) -> None:
    """An event as soon as it is there; and when the watcher goes, nothing is kept for it."""
    await stub.CreatePipeline(_create())
    call = stub.WatchPipelines(p.WatchPipelinesRequest(pipeline_id="flights", after=1))
    first = cast("p.WatchPipelinesResponse", await call.read())
    assert first.metrics.total_records_processed == 7
    await stub.StartPipeline(p.StartPipelineRequest(pipeline_id="flights"))
    told = cast("p.WatchPipelinesResponse", await call.read())
    assert told.event.WhichOneof("body") == "pipeline_started"
    assert (told.phase, told.status) == ("processing", event_pb2.STATUS_RUNNING)
    call.cancel()
    async with asyncio.timeout(5):
        await server.backend.unwatched.wait()


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (p.WatchPipelinesRequest(pipeline_id="nobody"), grpc.StatusCode.NOT_FOUND),
        (p.WatchPipelinesRequest(after=1), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_a_watch_of_nothing_is_refused(
    stub: PipelineServiceAsyncStub, request_: p.WatchPipelinesRequest, code: grpc.StatusCode
) -> None:
    """It would wait for ever."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        _ = [told async for told in stub.WatchPipelines(request_)]
    assert caught.value.code() is code


async def test_health_follows_the_platform(channel: grpc.aio.Channel, server: Server) -> None:
    """Load balancers ask by grpc.health.v1."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    pipelines, cluster = [service.full_name for service in SERVED]
    for service in ("", pipelines, cluster):
        told = await stub.Check(health_pb2.HealthCheckRequest(service=service))
        assert told.status == health_pb2.HealthCheckResponse.SERVING
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=pipelines))
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
    server.backend.ready = False
    assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
    watch.cancel()


async def test_the_health_of_an_unknown_service_is_not_found(channel: grpc.aio.Channel) -> None:
    """As the health protocol has it."""
    stub: Any = health_pb2_grpc.HealthStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Check(health_pb2.HealthCheckRequest(service="other"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_reflection_describes_the_service(channel: grpc.aio.Channel) -> None:
    """A tool such as grpcurl needs no proto files."""
    stub: Any = reflection_pb2_grpc.ServerReflectionStub(cast("grpc.Channel", channel))
    requests = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="dataflow.v1.PipelineService"
        ),
    ]
    listed, described = [answer async for answer in stub.ServerReflectionInfo(iter(requests))]
    names = {service.name for service in listed.list_services_response.service}
    public = {"dataflow.v1.PipelineService", "dataflow.v1.ClusterService"}
    assert public | {"grpc.health.v1.Health"} <= names
    [first, *_] = described.file_descriptor_response.file_descriptor_proto
    assert FileDescriptorProto.FromString(first).package == "dataflow.v1"


async def test_every_rpc_is_served(channel: grpc.aio.Channel) -> None:
    """An rpc added to proto/ without a handler fails the start; this says which are there."""
    codes = {}
    methods = [method for service in SERVED for method in service.methods]
    for method in methods:
        empty: Any = iter([b""])
        path = f"/{method.containing_service.full_name}/{method.name}"
        call: Any = channel.stream_stream(path)(empty, timeout=0.2)
        codes[method.name] = await call.code()
    assert len(codes) == len(methods)
    assert grpc.StatusCode.UNIMPLEMENTED not in codes.values(), codes


async def test_calls_are_counted(
    stub: PipelineServiceAsyncStub, registry: CollectorRegistry
) -> None:
    """By method and code."""
    await stub.CreatePipeline(_create())
    labels = {"transport": "grpc", "method": "CreatePipeline", "code": "OK"}
    assert registry.get_sample_value("dataflow_requests_total", labels) == 1
