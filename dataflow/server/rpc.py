"""gRPC: every rpc of the services, with deadlines, limits, reflection and health."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeAlias, cast

import grpc
from google.protobuf.message import Message

from dataflow.server.call import ACTOR_KEY, COMMAND_KEY, DEADLINE_DEFAULT, Call, actor
from dataflow.server.errors import DETAILS_KEY, failure, rpc_details
from dataflow.server.health import Health
from dataflow.server.observe import CANCELLED, OK
from dataflow.server.services import SERVED, Rpc, Services

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]
Work: TypeAlias = Callable[[Call], Awaitable[Any]]

MESSAGE_BYTES_MAX = 16 << 20
"""Of one message, in or out. gRPC has one limit a server: it is that of an ingest batch."""

OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_metadata_size", 16 << 10),
    ("grpc.absolute_max_metadata_size", 16 << 10),
    ("grpc.max_concurrent_streams", 128),  # against rapid resets (CVE-2023-44487)
    ("grpc.keepalive_time_ms", 10_000),  # a peer that is gone is noticed in 20 s
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # The least time between a client's pings (grpc doc/keepalive.md); 5 minutes where not set.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.so_reuseport", 0),  # a port in use is an error, not shared
)

RPCS_MAX = 1_000
"""Calls at once over all connections; more are refused with RESOURCE_EXHAUSTED."""


def make_server(services: Services) -> tuple[grpc.aio.Server, Health]:
    """Return a server that is not yet bound, and what tells its health."""
    # Imported here because it is needed once: at the start of a server.
    from grpc_health.v1 import health_pb2_grpc  # noqa: PLC0415 - see above
    from grpc_reflection.v1alpha import reflection  # noqa: PLC0415 - see above

    server = grpc.aio.server(options=OPTIONS, maximum_concurrent_rpcs=RPCS_MAX)
    names = [service.full_name for service in SERVED]
    server.add_generic_rpc_handlers([_service(name, services) for name in names])
    health = Health(services.backend, ("", *names), services.draining)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    served = (*names, "grpc.health.v1.Health", reflection.SERVICE_NAME)
    reflection.enable_server_reflection(served, server)
    return server, health


def _service(name: str, services: Services) -> grpc.GenericRpcHandler:
    methods = {
        rpc.name: _method(rpc, services)
        for rpc in services.rpcs
        if rpc.descriptor.containing_service.full_name == name
    }
    return grpc.method_handlers_generic_handler(name, methods)


def _method(rpc: Rpc, services: Services) -> grpc.RpcMethodHandler[Any, Any]:
    codecs: dict[str, Any] = {
        "request_deserializer": rpc.request.FromString,
        "response_serializer": rpc.response.SerializeToString,
    }
    match rpc.descriptor.client_streaming, rpc.descriptor.server_streaming:
        case False, False:
            return grpc.unary_unary_rpc_method_handler(_unary(rpc, services), **codecs)
        case False, True:
            return grpc.unary_stream_rpc_method_handler(_streaming(rpc, services), **codecs)
        case True, True:
            return grpc.stream_stream_rpc_method_handler(_streaming(rpc, services), **codecs)
        case _:
            raise TypeError(f"{rpc.name} streams requests only, which nothing here answers")


def _unary(rpc: Rpc, services: Services) -> Callable[[Message, Context], Awaitable[Any]]:
    async def serve(request: Message, context: Context) -> Any:  # noqa: ANN401 - any response
        async def work(call: Call) -> Any:  # noqa: ANN401 - any response
            async with asyncio.timeout(call.time_left.total_seconds()):
                return await rpc.handler(request, call)

        return await _answer(rpc, services, context, work)

    return serve


def _streaming(
    rpc: Rpc, services: Services
) -> Callable[[Message | AsyncIterator[Message], Context], Awaitable[None]]:
    """Return what serves a stream: as long as its caller likes, unless it set a deadline."""

    async def serve(requests: Message | AsyncIterator[Message], context: Context) -> None:
        async def work(call: Call) -> None:
            await rpc.handler(requests, call, context.write)

        await _answer(rpc, services, context, work)

    return serve


async def _answer(rpc: Rpc, services: Services, context: Context, work: Work) -> Any:  # noqa: ANN401 - any response
    """Do the work of a call; an error becomes its status, and every answer is counted."""
    started = services.clock.steady()
    code = CANCELLED
    try:
        response = await work(_call(context))
        code = OK
    except Exception as error:  # noqa: BLE001 - whatever it is, the caller is told what it may know
        told = failure(error, services.new_id)
        code = told.code
        trailers = ((DETAILS_KEY, rpc_details(told)),)
        await context.abort(told.status.grpc, told.message, trailers)
    else:
        return response
    finally:
        elapsed = services.clock.steady() - started
        services.requests.observe("grpc", rpc.name, code, elapsed)


def _call(context: Context) -> Call:
    named = {
        key: str(value)
        for key, value in context.invocation_metadata() or ()
        if key in {ACTOR_KEY, COMMAND_KEY}
    }
    left = cast("float | None", context.time_remaining())  # None where no deadline was set
    return Call(
        actor=actor(named.get(ACTOR_KEY, "")),
        command_id=named.get(COMMAND_KEY, ""),
        time_left=DEADLINE_DEFAULT if left is None else timedelta(seconds=max(left, 0)),
    )
