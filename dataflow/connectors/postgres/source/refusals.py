"""What the server says of a slot, by either driver, as who must act."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from asyncpg import PostgresError

from dataflow.connect import Rejected, Unavailable
from dataflow.connectors.postgres.source.replication import shown

MISSING, NOT_READY, IN_USE, DENIED = "42704", "55000", "55006", "42501"
"""SQLSTATE: there is no such slot or publication; the slot is invalid; another session reads it;
the user may not replicate. https://www.postgresql.org/docs/15/errcodes-appendix.html"""


def lost(where: str, slot: str, why: str) -> Rejected:
    """Return the error of a slot that does not hold any more what has not been read."""
    return Rejected(
        f"{where}: replication slot {slot!r} {why}, and with it changes that were not read; replay"
        " the pipeline, which reads the table anew, or bring the slot back. max_slot_wal_keep_size"
        " says how much log a slot may hold",
        code="SOURCE_CHANGED",
        field="options.slot",
    )


def ahead(where: str, slot: str, at: int, position: int) -> Rejected:
    """Return the error of a slot that begins behind what has been read."""
    return Rejected(
        f"{where}: replication slot {slot!r} begins at {shown(at)}, and the pipeline goes on from"
        f" {shown(position)}: somebody has read the slot, moved it or made it anew, and changes"
        " between are lost; replay the pipeline, which reads the table anew",
        code="SOURCE_CHANGED",
        field="options.slot",
    )


def set_back(where: str, end: int, position: int) -> Rejected:
    """Return the error of a log that ends before what has been read."""
    return Rejected(
        f"{where}: the log ends at {shown(end)}, and the pipeline goes on from {shown(position)}:"
        " the database is an older one, of a backup or a replica that had not caught up, and what"
        " is new in it would be taken for read; replay the pipeline, which reads the table anew",
        code="SOURCE_CHANGED",
        field="connectionString",
    )


def translated(error: psycopg.Error, where: str, slot: str) -> Rejected | Unavailable:
    """Return the error of a stream that says who must act."""
    told = " ".join(str(error).split())
    return _of(error.sqlstate or "", f"{where}: {told}", where, slot)


@contextmanager
def translating_slots(where: str, slot: str) -> Iterator[None]:
    """Say who must act where the server refuses what is done to a slot or a publication."""
    try:
        yield
    except PostgresError as error:
        state = error.sqlstate or ""
        if state not in {MISSING, NOT_READY, IN_USE, DENIED}:
            raise
        raise _of(state, f"{where}: {error}", where, slot) from error


def _of(state: str, told: str, where: str, slot: str) -> Rejected | Unavailable:
    if "publication" in told and state == MISSING:
        message = "which the slot needs as it was when the changes were made; make it, and replay"
        return Rejected(f"{told}, {message}", code="SOURCE_CHANGED", field="options.publication")
    match state:
        case "42704":
            return lost(where, slot, "is gone")
        case "55000":
            return lost(where, slot, f"cannot be read ({told})")
        case "42501":
            remedy = "ALTER ROLE … REPLICATION lets it read the log; a publication takes the owner"
            remedy += " of the table and CREATE on the database, or make it beforehand"
            return Rejected(f"{told}; {remedy}", field="connectionString", code="PERMISSION")
        case _:
            return Unavailable(told)
