"""Where the members of an etcd are, how they are known, and how a connection to one is kept."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from ipaddress import ip_address

import grpc

from dataflow.cluster.coordination.rules import OPERATIONS_MAX
from dataflow.core.errors import Rejected

ENDPOINT = re.compile(r"(?P<host>[^/\s\[\]:]+|\[[0-9a-fA-F:.%]+\]):(?P<port>\d{1,5})")

PAGE_KEYS = 512
"""Of one answer to a list: the owners of a small cluster's shards fit in one."""

MESSAGE_BYTES_MAX = PAGE_KEYS * (2 << 20)
"""A page, or a refused transaction's findings, of values as large as etcd takes by default."""

_RECONNECT_MS = (50, 1000)
"""First and longest wait of gRPC between connection attempts; its own two minutes would outlast
every deadline here."""

_PING_MS = (10_000, 3_000)
"""A ping each 10 s, answered within 3: etcd allows one each 5 s (``--grpc-keepalive-min-time``),
and none while no call is open, or it closes the connection."""

assert PAGE_KEYS >= OPERATIONS_MAX  # noqa: S101 - or a refused transaction's findings would not fit


@dataclass(frozen=True, slots=True)
class Tls:
    """How members are known, and how this client is known to them; all in PEM.

    Without ``root_certificates`` those of the system are trusted. A member that was given
    ``--trusted-ca-file`` asks for ``certificate``, whoever else logs in.
    """

    root_certificates: bytes | None = None
    key: bytes | None = field(default=None, repr=False)
    certificate: bytes | None = None


@dataclass(frozen=True, slots=True)
class Login:
    """A user of an etcd with authentication."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long things may take before they count as failed."""

    attempt: timedelta = timedelta(seconds=1)
    """One attempt of a call that may be repeated; then another member is asked."""
    call: timedelta = timedelta(seconds=5)
    """All attempts together: a lost leader is replaced within two of etcd's election time-outs,
    a second each by default."""
    transaction: timedelta = timedelta(seconds=2)
    """The one attempt of a transaction. What a follower had sent on to a leader that is lost is
    never answered (etcd itself gives up after 5 s), so this is how long such a loss is felt."""
    login: timedelta = timedelta(seconds=3)
    """Of a user, waiting for another one's login of this client included. A member takes 70 ms of
    processor for it (bcrypt), and is busy when everybody logs in at once."""
    progress: timedelta = timedelta(seconds=1)
    """How often a watch asks how far its member has come."""
    silence: timedelta = timedelta(seconds=4)
    """How long a watch stays with a member that tells it nothing."""


PATIENT = Patience()
"""The defaults, for the time-outs that etcd has by default."""


@dataclass(frozen=True, slots=True)
class Place:
    """The members of one etcd, ``host:port`` each, in the order in which they are asked.

    Of many clients each should begin with another member: watches stay where they began.

    Raises:
        Rejected: an endpoint is none, or a password would travel in the open.
    """

    endpoints: Sequence[str]
    tls: Tls | None = None
    login: Login | None = None

    def __post_init__(self) -> None:
        if not self.endpoints:
            raise Rejected("name at least one member", field="endpoints")
        for endpoint in self.endpoints:
            found = ENDPOINT.fullmatch(endpoint)
            if not found:
                raise Rejected(f"{endpoint!r} is not host:port", field="endpoints")
            if self.login and self.tls is None and not _is_loopback(found["host"]):
                raise Rejected(
                    "a password is sent without TLS to this machine only", field="password"
                )
        if self.tls and (self.tls.key is None) != (self.tls.certificate is None):
            raise Rejected("give both key and certificate, or neither", field="tls")

    def credentials(self) -> grpc.ChannelCredentials | None:
        """Return what a secure channel is made with; None for one that is not."""
        if self.tls is None:
            return None
        return grpc.ssl_channel_credentials(
            self.tls.root_certificates, self.tls.key, self.tls.certificate
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


CHANNEL_OPTIONS: Sequence[tuple[str, int]] = (
    ("grpc.keepalive_time_ms", _PING_MS[0]),
    ("grpc.keepalive_timeout_ms", _PING_MS[1]),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS[0]),
    ("grpc.min_reconnect_backoff_ms", _RECONNECT_MS[1]),
    ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS[1]),
    ("grpc.enable_retries", 0),  # what may be repeated is decided here
    ("grpc.use_local_subchannel_pool", 1),  # a keeper does not share its loop's connections
    ("grpc.enable_http_proxy", 0),  # a member is on the cluster's own network
)
