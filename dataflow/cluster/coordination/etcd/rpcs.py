"""The rpcs of etcd's v3 API that are used here, by their paths on the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from google.protobuf.message import Message

from dataflow.v1 import etcd_pb2 as pb

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)


@dataclass(frozen=True, slots=True)
class Rpc(Generic[Q, A]):
    """A path, and how its messages become bytes."""

    path: str
    request: type[Q]
    answer: type[A]

    @property
    def encode(self) -> Callable[[Q], bytes]:
        """Turn a request into bytes."""
        return self.request.SerializeToString

    @property
    def decode(self) -> Callable[[bytes], A]:
        """Turn bytes into an answer."""
        return self.answer.FromString


RANGE = Rpc("/etcdserverpb.KV/Range", pb.EtcdRangeRequest, pb.EtcdRangeResponse)
TXN = Rpc("/etcdserverpb.KV/Txn", pb.EtcdTxnRequest, pb.EtcdTxnResponse)
GRANT = Rpc("/etcdserverpb.Lease/LeaseGrant", pb.EtcdLeaseGrantRequest, pb.EtcdLeaseGrantResponse)
REVOKE = Rpc(
    "/etcdserverpb.Lease/LeaseRevoke", pb.EtcdLeaseRevokeRequest, pb.EtcdLeaseRevokeResponse
)
AUTHENTICATE = Rpc(
    "/etcdserverpb.Auth/Authenticate", pb.EtcdAuthenticateRequest, pb.EtcdAuthenticateResponse
)

KEEP_ALIVE = Rpc(
    "/etcdserverpb.Lease/LeaseKeepAlive",
    pb.EtcdLeaseKeepAliveRequest,
    pb.EtcdLeaseKeepAliveResponse,
)
"""A stream that is used for one request and ends after its answer, which on the wire is a unary
call: so each attempt has a deadline and a member of its own."""

WATCH = Rpc("/etcdserverpb.Watch/Watch", pb.EtcdWatchRequest, pb.EtcdWatchResponse)
"""A stream both ways."""

Metadata: TypeAlias = tuple[tuple[str, str], ...]

METADATA: Metadata = (("hasleader", "true"),)
"""A member that has lost its leader refuses, and ends its watches, instead of keeping silent."""
