"""Who may speak to the HTTP server: no page of another site through its visitor's browser."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from dataflow.server.errors import EdgeError

SAFE_VERBS = frozenset({"GET", "HEAD", "OPTIONS"})


def check_origin(headers: Headers, verb: str, *, loopback: bool) -> None:
    """Refuse what a browser sends on behalf of a foreign page.

    A browser states the page's origin with everything but plain reading, and with every
    WebSocket; other programs state none. Where only this machine is served, the name by which
    the server was reached must be the machine's own, or a foreign name that resolves to it
    would make any page a local one (DNS rebinding).

    Raises:
        EdgeError: FOREIGN_ORIGIN.
    """
    hosts = headers.getlist("host")
    host = hosts[0] if hosts else ""
    if len(hosts) > 1:
        raise EdgeError("FOREIGN_ORIGIN", "a request names one host")
    if loopback and not is_local(_name(host)):
        raise EdgeError("FOREIGN_ORIGIN", "this server is reached as localhost or by its address")
    origin = headers.get("origin")
    if verb in SAFE_VERBS or origin is None:
        return
    if urlsplit(origin).netloc.lower() != host.lower():
        raise EdgeError("FOREIGN_ORIGIN", "pages of other sites may not send requests here")


def is_local(name: str) -> bool:
    """Tell whether a host name is an address, or can only mean this machine."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
