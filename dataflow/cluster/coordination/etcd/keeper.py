"""Keeps leases over a connection of its own, from a thread of its own."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import grpc

from dataflow.cluster.coordination import rules
from dataflow.cluster.coordination.contract import LeaseId
from dataflow.cluster.coordination.etcd.errors import Failure, is_old_token, translated
from dataflow.cluster.coordination.etcd.place import CHANNEL_OPTIONS, Place
from dataflow.cluster.coordination.etcd.rpcs import (
    AUTHENTICATE,
    KEEP_ALIVE,
    METADATA,
    A,
    Metadata,
    Q,
    Rpc,
)
from dataflow.core.errors import Unavailable
from dataflow.v1 import etcd_pb2 as pb

CLOSED = "the keeper of leases is closed"


class EtcdKeeper:
    """A ``Keeper`` for one thread; ``close`` may come from another."""

    def __init__(self, place: Place, ttl: timedelta) -> None:
        """Prepare to keep leases that live for ``ttl``; nothing is sent yet."""
        self._place = place
        self._attempt_s = ttl.total_seconds() / 10
        self._channels: Sequence[grpc.Channel] = [
            _channel(place, endpoint) for endpoint in place.endpoints
        ]
        self._at = 0
        self._token = ""
        self._closed = False

    def keep_alive(self, lease: LeaseId) -> timedelta:
        """See ``Keeper.keep_alive``: one attempt, at one member.

        It takes a tenth of a lease's time again where it has to log in first.
        """
        if self._closed:
            raise Unavailable(CLOSED)
        try:
            ttl_s = self._keep_alive(lease)
        except grpc.RpcError as error:
            if self._closed:
                raise Unavailable(CLOSED) from error
            self._at = (self._at + 1) % len(self._channels)
            failure: Failure = error
            if is_old_token(failure):
                self._token = ""
                raise Unavailable("etcd: the next call logs in again") from error
            raise translated(failure, changing=False) from error
        except ValueError as error:  # the channel was closed before the call began
            raise Unavailable(CLOSED) from error
        if ttl_s <= 0:
            raise rules.lease_lost(lease)
        return timedelta(seconds=ttl_s)

    def close(self) -> None:
        """See ``Keeper.close``; a call under way ends as unavailable."""
        self._closed = True
        for channel in self._channels:
            channel.close()

    def _keep_alive(self, lease: LeaseId) -> int:
        metadata: Metadata = METADATA
        login = self._place.login
        if login is not None:
            if not self._token:
                asked = pb.EtcdAuthenticateRequest(name=login.user, password=login.password)
                self._token = self._call(AUTHENTICATE, asked, METADATA).token
            metadata = (*METADATA, ("token", self._token))
        request = pb.EtcdLeaseKeepAliveRequest(id=lease)
        return self._call(KEEP_ALIVE, request, metadata).ttl_s

    def _call(self, rpc: Rpc[Q, A], request: Q, metadata: Metadata) -> A:
        method = self._channels[self._at].unary_unary(rpc.path, rpc.encode, rpc.decode)
        answer: A = method(request, timeout=self._attempt_s, metadata=metadata)
        return answer


def _channel(place: Place, endpoint: str) -> grpc.Channel:
    credentials = place.credentials()
    if credentials is None:
        return grpc.insecure_channel(endpoint, CHANNEL_OPTIONS)
    return grpc.secure_channel(endpoint, credentials, CHANNEL_OPTIONS)
