"""Messages over a socket: each behind its length, whole or not at all, in order.

Sending never waits; whoever sends looks at ``unsent`` and decides what a peer that does not read
is: behind, or stuck.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import cast

from dataflow.core.errors import Code, Rejected

FRAME_BYTES_MAX = 128 << 20
"""Twice the largest message there should be: a batch of 64 MiB as rows."""

LENGTH = struct.Struct("<I")


class Frames:
    """Cuts what arrives, in whatever pieces, into the messages that were sent."""

    def __init__(self) -> None:
        self._arrived = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Yield the messages that are whole by now.

        Raises:
            ValueError: no peer of ours says that; nothing behind it can be understood.
        """
        self._arrived += data
        while len(self._arrived) >= LENGTH.size:
            (length,) = LENGTH.unpack_from(self._arrived)
            if length > FRAME_BYTES_MAX:
                raise ValueError(f"a message of {length} bytes, and {FRAME_BYTES_MAX} are the most")
            end = LENGTH.size + length
            if len(self._arrived) < end:
                return
            with memoryview(self._arrived) as view:
                message = bytes(view[LENGTH.size : end])
            del self._arrived[:end]
            yield message


class Link(asyncio.Protocol):
    """One end of the socket. ``hear`` gets each message, ``lost`` the end: once, and the last."""

    def __init__(self, hear: Callable[[bytes], None], lost: Callable[[], None]) -> None:
        self._hear = hear
        self._lost = lost
        self._frames = Frames()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(
        cls, end: socket.socket, hear: Callable[[bytes], None], lost: Callable[[], None]
    ) -> Link:
        """Take over a connected socket."""
        end.setblocking(False)
        loop = asyncio.get_running_loop()
        _, link = await loop.create_unix_connection(lambda: cls(hear, lost), sock=end)
        return link

    @property
    def unsent(self) -> int:
        """Return how many bytes the peer has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport else 0

    def send(self, payload: bytes) -> None:
        """Send a message; to a peer that is gone, it goes nowhere.

        Raises:
            Rejected: it is larger than a message may be; nothing was sent.
        """
        if len(payload) > FRAME_BYTES_MAX:
            message = f"{len(payload)} bytes are more than the {FRAME_BYTES_MAX} of a message"
            raise Rejected(message, code=Code.TOO_LARGE)
        if self._transport is not None and not self._transport.is_closing():
            self._transport.writelines([LENGTH.pack(len(payload)), payload])

    def close(self) -> None:
        """Let go of the socket, whatever was not sent yet."""
        if self._transport is not None:
            self._transport.abort()

    # --- asyncio.Protocol ------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        try:
            for message in self._frames.feed(data):
                self._hear(message)
        except ValueError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - gone is gone
        """See ``asyncio.Protocol``."""
        with suppress(RuntimeError):  # the loop is being closed: there is nobody left to tell
            self._lost()
