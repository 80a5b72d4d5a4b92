"""One channel to one server: how it is opened, kept alive, and how a request is carried over it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address
from random import Random, SystemRandom
from typing import TYPE_CHECKING, Any, Protocol, TypeVar
from uuid import UUID

import grpc
from grpc import aio

from dataflow.client.attempts import Attempts, Patience
from dataflow.client.errors import from_rpc
from dataflow.core.errors import Rejected, Waiting
from dataflow.v1.cluster_pb2_grpc import ClusterServiceStub
from dataflow.v1.pipeline_pb2_grpc import PipelineServiceStub

if TYPE_CHECKING:  # the asynchronous view of a stub exists for type checkers alone
    from dataflow.v1.cluster_pb2_grpc import ClusterServiceAsyncStub
    from dataflow.v1.pipeline_pb2_grpc import PipelineServiceAsyncStub

Q = TypeVar("Q")
Q_contra = TypeVar("Q_contra", contravariant=True)
A_co = TypeVar("A_co", covariant=True)
T = TypeVar("T")

TIMEOUT = timedelta(seconds=30)
MESSAGE_BYTES_MAX = 16 << 20
"""Four times gRPC's own default: room for a batch of 100,000 records of 100 B."""

NOT_OPEN = "the client is not open: use `async with DataFlow(…) as df:`"

_RECONNECT_MS = (50, 2000)
"""First and longest wait of gRPC between connection attempts; its own two minutes would outlast
every request's deadline."""


@dataclass(frozen=True, slots=True)
class Tls:
    """How the server is known, and how the client is known to it; all in PEM.

    Without ``root_certificates`` those of the system are trusted. ``key`` and ``certificate``
    are for mutual TLS. ``server_name`` stands in for the address where the certificate has
    another name.
    """

    root_certificates: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    certificate: bytes | None = None
    server_name: str = ""


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything about a connection that can be chosen; see ``DataFlow``."""

    server: str
    timeout: timedelta = TIMEOUT
    connect_timeout: timedelta | None = None
    tls: Tls | None = None
    token: str = field(default="", repr=False)
    message_bytes_max: int = MESSAGE_BYTES_MAX
    keepalive: timedelta = timedelta(seconds=30)
    keepalive_timeout: timedelta = timedelta(seconds=10)
    random: Random = field(default_factory=SystemRandom)


class Method(Protocol[Q_contra, A_co]):
    """A unary method of the generated stub."""

    def __call__(
        self, request: Q_contra, *, timeout: float | None, metadata: aio.Metadata | None
    ) -> Awaitable[A_co]:
        """Begin the call."""
        ...


class Connection:
    """A channel, and the tasks that work for streams over it; both end with ``close``."""

    def __init__(self, settings: Settings) -> None:
        _check(settings)
        self.settings = settings
        self.reached = False
        self.metadata = aio.Metadata()
        if settings.token:
            self.metadata.add("authorization", f"Bearer {settings.token}")
        self._tasks: asyncio.TaskGroup | None = None
        self._working: set[asyncio.Task[None]] = set()
        self._channel: aio.Channel | None = None
        self._stub: PipelineServiceAsyncStub | None = None
        self._cluster: ClusterServiceAsyncStub | None = None

    async def open(self) -> None:
        """Make the channel; the server is first contacted by the first request."""
        self._tasks = await asyncio.TaskGroup().__aenter__()
        self._channel = _channel(self.settings)
        self._stub = PipelineServiceStub(self._channel)
        self._cluster = ClusterServiceStub(self._channel)

    async def close(self) -> None:
        """End every stream, task and connection."""
        if self._tasks is None:
            return
        for task in self._working:
            task.cancel()
        if self._channel is not None:
            await self._channel.close()
        self._channel = self._stub = self._cluster = None
        # Without the caller's exception: a group would wrap it in an ExceptionGroup.
        tasks, self._tasks = self._tasks, None
        await tasks.__aexit__(None, None, None)

    @property
    def stub(self) -> PipelineServiceAsyncStub:
        """The generated methods about pipelines.

        Raises:
            RuntimeError: the client is not open.
        """
        if self._stub is None:
            raise RuntimeError(NOT_OPEN)
        return self._stub

    @property
    def cluster(self) -> ClusterServiceAsyncStub:
        """The generated methods about nodes and shards; raises as ``stub`` does."""
        if self._cluster is None:
            raise RuntimeError(NOT_OPEN)
        return self._cluster

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run ``work``, which must not raise, until it ends or the client closes."""
        if self._tasks is None:
            work.close()
            raise RuntimeError(NOT_OPEN)
        task = self._tasks.create_task(work)
        self._working.add(task)
        task.add_done_callback(self._working.discard)
        return task

    def attempts(self, timeout: timedelta | None = None) -> Attempts:
        """Return the attempts of a new request."""
        total = (self.settings.timeout if timeout is None else timeout).total_seconds()
        contact = self.settings.connect_timeout
        first = total if contact is None or self.reached else contact.total_seconds()
        return Attempts(Patience(total=total, contact=first), self.settings.random)

    def new_id(self) -> str:
        """Return an id that nobody else has."""
        return str(UUID(int=self.settings.random.getrandbits(128), version=4))

    async def call(
        self,
        method: Method[Q, T],
        request: Q,
        timeout: timedelta | None = None,
        *,
        waits: bool = True,
    ) -> T:
        """Ask until there is an answer, the deadline has passed, or asking again is no use.

        ``waits`` tells whether to ask again where the server itself waits for something.

        Raises:
            DataFlowError: what the server said, or ``Unreachable``.
        """
        attempts = self.attempts(timeout)
        while True:
            try:
                answer = await method(request, timeout=attempts.remaining, metadata=self.metadata)
            except aio.AioRpcError as error:
                failure = from_rpc(error, self.settings.server)
                if isinstance(failure, Waiting) and not waits:
                    raise failure from error
                await attempts.pause(failure, error)
            else:
                self.reached = True
                return answer


def _check(settings: Settings) -> None:
    for name in ("timeout", "keepalive", "keepalive_timeout"):
        if getattr(settings, name) <= timedelta():
            raise Rejected("use a duration above zero", field=name)
    if settings.tls and (settings.tls.key is None) != (settings.tls.certificate is None):
        raise Rejected("give both key and certificate, or neither", field="tls")
    if settings.token and settings.tls is None and not _is_loopback(settings.server):
        raise Rejected(
            "a token is sent without TLS to this machine only, for anybody between could read it;"
            " give tls as well",
            field="token",
        )


def _is_loopback(server: str) -> bool:
    host = server.removeprefix("dns:///").removeprefix("ipv4:").rpartition(":")[0].strip("[]")
    if host == "localhost" or server.startswith(("unix:", "unix-abstract:")):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _channel(settings: Settings) -> aio.Channel:
    first, longest = _RECONNECT_MS
    options: list[tuple[str, str | int]] = [
        ("grpc.keepalive_time_ms", round(settings.keepalive.total_seconds() * 1000)),
        ("grpc.keepalive_timeout_ms", round(settings.keepalive_timeout.total_seconds() * 1000)),
        ("grpc.max_send_message_length", settings.message_bytes_max),
        ("grpc.max_receive_message_length", settings.message_bytes_max),
        ("grpc.initial_reconnect_backoff_ms", first),
        ("grpc.min_reconnect_backoff_ms", longest),
        ("grpc.max_reconnect_backoff_ms", longest),
        ("grpc.enable_retries", 0),  # Attempts does it, with the caller's deadline in view
    ]
    if settings.tls is None:
        return aio.insecure_channel(settings.server, options=options)
    if settings.tls.server_name:
        options.append(("grpc.ssl_target_name_override", settings.tls.server_name))
    credentials = grpc.ssl_channel_credentials(
        settings.tls.root_certificates, settings.tls.key, settings.tls.certificate
    )
    return aio.secure_channel(settings.server, credentials, options=options)
