"""What PostgreSQL and its driver say, as who must act."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from asyncpg import InterfaceError, PostgresError
from asyncpg.exceptions import ClientConfigurationError, InternalClientError

from dataflow.connect import Corrupted, Rejected, Unavailable

READ_ONLY = "25006"

DATA_CLASSES = ("22", "23")
"""SQLSTATE classes of a bad value and of a violated constraint: a row's fault, not the server's."""


class _Refusal(NamedTuple):
    """Who must change what."""

    field: str
    remedy: str
    code: str = ""


_CREDENTIALS = _Refusal("connectionString", "give a user and password that the server knows")
_REFUSALS: Mapping[str, _Refusal] = {
    "28P01": _CREDENTIALS,
    "28000": _CREDENTIALS,
    "3D000": _Refusal("connectionString", "create the database, or name another"),
    "3F000": _Refusal("options.table", "create the schema, or name another"),
    "42P01": _Refusal("options.table", "create the table, or set create"),
    "42703": _Refusal("options.table", "add the column, set evolve, or drop it in a map transform"),
    "42P10": _Refusal(
        "options.keys", "create a unique constraint over exactly these columns, or name others"
    ),
    "42501": _Refusal("options.table", "grant the user of the connection what is missing"),
    READ_ONLY: _Refusal(
        "connectionString", "name the primary, or a user whose transactions may write"
    ),
}
"""SQLSTATE -> what the caller must change. https://www.postgresql.org/docs/15/errcodes-appendix.html"""

_PERMISSION = {"28P01", "28000", "42501"}

_PASSING: Mapping[str, str] = {
    "53300": "raise max_connections, or end other clients",
    "53100": "make room on the server's disk",
    "53200": "give the server more memory",
    "55P03": "somebody else holds a lock; raise lock_timeout if that is usual",
    "57014": "raise statement_timeout, or lower the sink's batchSize",
    "25P03": "raise idle_in_transaction_session_timeout, or close checkpoints more often",
    "25P04": "raise transaction_timeout, or close checkpoints more often",
}
"""SQLSTATE -> what helps, where trying again alone may not."""

_NUL = 'invalid byte sequence for encoding "UTF8": 0x00'
"""UTF-8 has it, so the server's own words mislead."""

_LOST = ("08", "57P")
"""The connection broke, or the server ended it: it may have been waiting for a replica by then."""

_DISK = {"53100", "58030"}
_BROKEN_DATA = ("XX001", "XX002")


FAILURES = (PostgresError, InterfaceError, InternalClientError, OSError, TimeoutError)
"""All that the driver raises; the third where a server dies at the wrong moment."""


def is_data_error(error: PostgresError) -> bool:
    """Tell whether a row is to blame: others may well be written."""
    return (error.sqlstate or "")[:2] in DATA_CLASSES


@contextmanager
def translating(where: str, *, is_commit: bool = False) -> Iterator[None]:
    """Turn whatever the driver raises in the block into an error that says who must act.

    Args:
        where: the server, as errors name it.
        is_commit: the block is a COMMIT: if its answer is lost, so is its outcome.
    """
    try:
        yield
    except FAILURES as error:
        if is_commit and is_lost(error):
            raise Unavailable(
                f"{where}: the connection was lost in COMMIT: {error}", code="OUTCOME_UNKNOWN"
            ) from error
        raise translated(error, where) from error


def is_lost(error: Exception) -> bool:
    """Tell whether the server may have done what was asked, for all that is known."""
    if isinstance(error, PostgresError):
        return (error.sqlstate or "").startswith(_LOST)
    return True


def translated(error: Exception, where: str) -> Rejected | Unavailable | Corrupted:
    """Return the error that says who must act; ``where`` names the server."""
    match error:
        case PostgresError():
            return _of_server(error, where)
        case ClientConfigurationError():
            return Rejected(f"{where}: {error}", field="connectionString")
        case ssl.SSLCertVerificationError():
            message = f"{where}: {error.verify_message}; give sslrootcert, or another sslmode"
            return Rejected(message, field="connectionString")
        case _:
            return Unavailable(f"{where}: {str(error) or type(error).__name__}")


def _of_server(error: PostgresError, where: str) -> Rejected | Unavailable | Corrupted:
    state = error.sqlstate or ""
    told = f"{where}: {said(error)}"
    if refusal := _REFUSALS.get(state):
        code = "PERMISSION" if state in _PERMISSION else ""
        return Rejected(f"{told}; {refusal.remedy}", field=refusal.field, code=code)
    if state in _BROKEN_DATA:
        return Corrupted(told)
    if is_data_error(error):
        return Rejected(told, field="options.table", code="RECORD_REJECTED")
    if state.startswith("42"):
        return Rejected(told, field="options.table")
    remedy = f"; {_PASSING[state]}" if state in _PASSING else ""
    return Unavailable(f"{told}{remedy}", code="STORAGE" if state in _DISK else "")


def said(error: PostgresError) -> str:
    """Return what the server says, with the column and the detail where it names them."""
    text = str(error.args[0]) if error.args else type(error).__name__
    return reason(text, getattr(error, "detail", None), _column(error))


def reason(text: str, detail: str | None, column: str | None) -> str:
    """Return one line of what the server says in three places."""
    if text.endswith(_NUL):
        text = "PostgreSQL's text cannot hold a NUL"
    named = f"column {column!r}: {text}" if column and f'"{column}"' not in text else text
    return f"{named}: {detail}" if detail else named


def _column(error: PostgresError) -> str:
    """Return the column at fault: of a constraint, or of the line that COPY was at."""
    context: str = getattr(error, "context", None) or ""
    _, found, rest = context.partition(", column ")
    return rest.partition(":")[0] if found else getattr(error, "column_name", None) or ""
