"""Who this client is to an etcd with authentication."""

from __future__ import annotations

import asyncio

from dataflow.cluster.coordination.etcd.members import Member
from dataflow.cluster.coordination.etcd.place import Login
from dataflow.cluster.coordination.etcd.rpcs import AUTHENTICATE, METADATA, Metadata
from dataflow.v1 import etcd_pb2 as pb


class Session:
    """Metadata for calls: of a user a token, which is good for all members until it is refused."""

    def __init__(self, login: Login | None) -> None:
        self._login = login
        self._token = ""
        self._asking = asyncio.Lock()

    async def metadata(self, member: Member, within_s: float) -> Metadata:
        """Return what goes with a call, after having logged in where that is needed.

        Raises:
            AioRpcError: the member does not know the user or the password, or is not well.
            TimeoutError: it has not answered in time, this call or the one before it.
        """
        if self._login is None:
            return METADATA
        async with asyncio.timeout(within_s), self._asking:
            if not self._token:
                request = pb.EtcdAuthenticateRequest(
                    name=self._login.user, password=self._login.password
                )
                answer = await member.call(AUTHENTICATE, request, METADATA, within_s)
                self._token = answer.token
            return (*METADATA, ("token", self._token))

    def refused(self, metadata: Metadata) -> None:
        """Log in again before the next call, unless somebody has done so already."""
        if ("token", self._token) in metadata:
            self._token = ""

    def forget(self) -> None:
        """Log in again before the next call."""
        self._token = ""
