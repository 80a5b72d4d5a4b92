"""Members of an etcd that say what a test tells them: for what real ones say too rarely."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import grpc
from grpc import aio

from dataflow.cluster.coordination.etcd.rpcs import RANGE, TXN, WATCH
from dataflow.v1 import etcd_pb2 as pb

Script = Sequence[pb.EtcdWatchResponse]


class Member(grpc.GenericRpcHandler):
    """Answers each watch with the next of its scripts, and then keeps silent.

    It has come to ``revision``; where the others have come to, ``now``, it cannot always say.
    """

    def __init__(self, revision: int, *scripts: Script, now: int | None = None) -> None:
        self._revision = revision
        self._now = now
        self._scripts = list(scripts)
        self.watched: list[pb.EtcdWatchCreate] = []
        self.busy = asyncio.Event()
        """A transaction has come, to which there is no answer."""

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        match getattr(details, "method", ""):
            case WATCH.path:
                return grpc.stream_stream_rpc_method_handler(
                    self._watch, WATCH.request.FromString, WATCH.answer.SerializeToString
                )
            case RANGE.path:
                return grpc.unary_unary_rpc_method_handler(
                    self._range, RANGE.request.FromString, RANGE.answer.SerializeToString
                )
            case TXN.path:
                return grpc.unary_unary_rpc_method_handler(
                    self._transact, TXN.request.FromString, TXN.answer.SerializeToString
                )
            case _:
                return None

    async def _watch(
        self, requests: AsyncIterator[pb.EtcdWatchRequest], _: object
    ) -> AsyncIterator[pb.EtcdWatchResponse]:
        self.watched.append((await anext(requests)).create)
        header = pb.EtcdHeader(revision=self._revision)
        yield pb.EtcdWatchResponse(header=header, created=True)
        for response in self._scripts.pop(0) if self._scripts else ():
            yield response
        async for _ in requests:
            pass

    async def _range(
        self, request: pb.EtcdRangeRequest, context: aio.ServicerContext[object, object]
    ) -> pb.EtcdRangeResponse:
        if self._now is None:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "etcdserver: no leader")
        return pb.EtcdRangeResponse(header=pb.EtcdHeader(revision=self._now))

    async def _transact(self, request: pb.EtcdTxnRequest, _: object) -> pb.EtcdTxnResponse:
        self.busy.set()
        await asyncio.Event().wait()
        return pb.EtcdTxnResponse()


@asynccontextmanager
async def serving(*members: Member) -> AsyncIterator[list[str]]:
    """Let members be reached; return where."""
    async with AsyncExitStack() as stack:
        endpoints = []
        for member in members:
            server = aio.server()
            server.add_generic_rpc_handlers((member,))
            endpoints.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
            await server.start()
            stack.push_async_callback(server.stop, None)
        yield endpoints
