"""The services that are served, as their descriptors state them, and who answers each rpc."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from dataflow.core.clock import Clock
from dataflow.server.backend import Backend
from dataflow.server.cluster_backend import ClusterBackend
from dataflow.server.cluster_handlers import ClusterHandlers
from dataflow.server.command_handlers import CommandHandlers
from dataflow.server.commands import Commands
from dataflow.server.errors import NewId
from dataflow.server.letter_handlers import LetterHandlers
from dataflow.server.observe import Requests
from dataflow.server.read_handlers import ReadHandlers
from dataflow.server.streams import StreamHandlers
from dataflow.v1 import cluster_pb2, pipeline_pb2

Handler: TypeAlias = Callable[..., Any]

SERVED: Sequence[ServiceDescriptor] = (
    pipeline_pb2.DESCRIPTOR.services_by_name["PipelineService"],
    cluster_pb2.DESCRIPTOR.services_by_name["ClusterService"],
)
"""The public services, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Rpc:
    """One rpc: its descriptor, its messages and the function that answers it."""

    name: str
    descriptor: MethodDescriptor
    request: type[Message]
    response: type[Message]
    handler: Handler


class Services:
    """Every rpc that is served, and what all transports share."""

    def __init__(
        self,
        backend: Backend,
        cluster: ClusterBackend,
        *,
        clock: Clock,
        new_id: NewId,
        requests: Requests,
    ) -> None:
        self.backend = backend
        self.clock = clock
        self.new_id = new_id
        self.requests = requests
        commands = Commands(backend.validate, new_id)
        self.draining = asyncio.Event()
        """Set when serving ends: streams finish what they have begun."""
        self.streams = StreamHandlers(backend, commands, new_id, self.draining)
        parts = (
            CommandHandlers(backend, commands, new_id),
            LetterHandlers(backend, new_id),
            ReadHandlers(backend),
            self.streams,
            ClusterHandlers(cluster),
        )
        self.rpcs = [_rpc(method, parts) for service in SERVED for method in service.methods]


def _rpc(method: MethodDescriptor, parts: Sequence[object]) -> Rpc:
    [handler] = [getattr(part, method.name) for part in parts if hasattr(part, method.name)]
    return Rpc(
        name=method.name,
        descriptor=method,
        request=GetMessageClass(method.input_type),
        response=GetMessageClass(method.output_type),
        handler=handler,
    )
