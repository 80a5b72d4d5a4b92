"""The end of the driver's errors: they become ``dataflow.core.errors``."""

from __future__ import annotations

from cassandra import InvalidRequest, Unauthorized
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionBusy
from cassandra.pool import NoConnectionsAvailable
from cassandra.protocol import SyntaxException

from dataflow.core.errors import Code, DataFlowError, Unavailable

_BUSY = (ConnectionBusy, NoConnectionsAvailable)
"""Of a connection that would not take the request."""

_REFUSED = (InvalidRequest, SyntaxException, Unauthorized)
"""The server looked at the request and did not begin (native_protocol_v5.spec, section 8: 0x2…)."""


def is_busy(error: BaseException) -> bool:
    """Tell whether a request was sent to nobody, because every connection is full.

    Of any other error the driver does not say how far it came: a host that is marked down may have
    been so before or after it was sent to.
    """
    if not isinstance(error, NoHostAvailable):
        return isinstance(error, _BUSY)
    errors = error.errors
    found = list(errors.values() if isinstance(errors, dict) else errors)
    return bool(found) and all(isinstance(one, _BUSY) for one in found)


def translate(error: BaseException, where: str, *, conditional: bool = False) -> DataFlowError:
    """Return what a driver's error means for the caller.

    Args:
        error: as the driver raised it or handed it to a callback.
        where: the store, and shard and offset where they are known.
        conditional: it answered a conditional write. Whatever it says, a coordinator may carry
            such a write out later (the driver has no name for CAS_WRITE_UNKNOWN, 0x1700, at all):
            only what was never sent, or was refused unseen, was certainly not written.
    """
    if is_busy(error):
        return Unavailable(f"{where}: every connection is full; nothing was written")
    if isinstance(error, _REFUSED):
        return DataFlowError(f"{where}: {error}", code=Code.INTERNAL)
    said = f"{type(error).__name__}: {error}"
    if conditional:
        return Unavailable(
            f"{where}: {said}; it may have been written, ask again", code=Code.OUTCOME_UNKNOWN
        )
    return Unavailable(f"{where}: {said}", code=Code.STORAGE)
