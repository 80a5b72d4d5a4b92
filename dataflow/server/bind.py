"""Addresses to serve at: what may be bound, and clear words where it cannot be."""

from __future__ import annotations

import errno
import ipaddress
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit

from dataflow.core.errors import Code, DataFlowError, Rejected, Unavailable

BACKLOG = 2048
"""Connections that wait to be accepted; as uvicorn has it."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port, and the setting that named them; port 0 takes any that is free."""

    host: str
    port: int
    setting: str

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False


def address(text: str, setting: str, *, insecure_bind: bool) -> Address:
    """Read ``host:port``.

    Without TLS only this machine may be served, unless ``insecure_bind`` says otherwise.

    Raises:
        Rejected: it is no address, or others could reach it.
    """
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port = "", None
    if not host or port is None or set(text) & set("/?#@"):
        raise Rejected(f"{text!r} is no address; give host:port", field=setting)
    found = Address(host, port, setting)
    if not (found.is_loopback or insecure_bind):
        raise Rejected(
            f"{text} can be reached from other machines, and nothing is encrypted: bind a"
            " loopback address such as 127.0.0.1, or allow it in so many words with insecure_bind",
            field=setting,
        )
    return found


def listen(wanted: Address) -> socket.socket:
    """Return a socket that listens at an address.

    Raises:
        Unavailable: the port is in use.
        Rejected: the address cannot be bound.
    """
    try:
        family = socket.AF_INET6 if ":" in wanted.host else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _translated(error, wanted) from error
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((wanted.host, wanted.port))
        bound.listen(BACKLOG)
        bound.setblocking(False)
    except OSError as error:
        bound.close()
        raise _translated(error, wanted) from error
    return bound


def _translated(error: OSError, wanted: Address) -> DataFlowError:
    if error.errno == errno.EADDRINUSE:
        return Unavailable(
            f"{wanted} is in use by another program; stop that one or choose another port",
            field=wanted.setting,
        )
    if error.errno == errno.EACCES:
        message = f"{wanted} may not be bound by this user; choose a port above 1023"
        return Rejected(message, code=Code.PERMISSION, field=wanted.setting)
    return Rejected(f"{wanted} cannot be bound: {error.strerror}", field=wanted.setting)
