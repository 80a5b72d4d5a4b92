"""Where the servers are, and what is kept there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from dataflow.core.errors import Rejected

PORT = 9042
"""Cassandra's own default."""

KEYSPACE = re.compile(r"[a-z][a-z0-9_]{0,47}")
"""What needs no quotes (CQL, section Identifiers and keywords; at most 48 letters)."""


@dataclass(frozen=True, slots=True)
class Options:
    """Which servers, and which of their keyspaces."""

    contact_points: Sequence[str]
    """``host`` or ``host:port``; the others of the ring are found through them."""
    keyspace: str
    replication_factor: int = 0
    """Of a keyspace that is not there yet; 0: three, or as many as there are servers if fewer."""
    timeout: timedelta = timedelta(seconds=3)
    """Of one request. A server gives a conditional write up after 1.8 s by itself."""

    @property
    def endpoints(self) -> Sequence[tuple[str, int]]:
        """Return hosts and ports.

        Raises:
            Rejected: there is none, or one that is none.
        """
        if not self.contact_points:
            raise Rejected("name at least one server", field="cassandra_contact_points")
        return [_endpoint(text) for text in self.contact_points]

    def check(self) -> None:
        """Refuse what no server could be asked with.

        Raises:
            Rejected: names the field.
        """
        _ = self.endpoints
        if not KEYSPACE.fullmatch(self.keyspace):
            raise Rejected(
                f"{self.keyspace!r} is not a keyspace: use 1 to 48 lower-case letters, digits and"
                " underscores, beginning with a letter",
                field="cassandra_keyspace",
            )
        if self.replication_factor < 0:
            raise Rejected("use 0 or more", field="cassandra_replication_factor")


def _endpoint(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if not colon:
        return text, PORT
    if not host or not port.isdecimal():
        raise Rejected(f"{text!r} is not host:port", field="cassandra_contact_points")
    return host, int(port)
