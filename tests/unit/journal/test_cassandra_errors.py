"""What the Cassandra driver's errors mean, and what may be asked of servers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cassandra import (
    ConsistencyLevel,
    InvalidRequest,
    OperationTimedOut,
    Unauthorized,
    WriteTimeout,
    WriteType,
)
from cassandra import Unavailable as TooFewReplicas
from cassandra.cluster import NoHostAvailable
from cassandra.connection import ConnectionBusy, ConnectionException, ConnectionShutdown
from cassandra.pool import NoConnectionsAvailable
from cassandra.protocol import ServerError

from dataflow.core.errors import Code, Corrupted, Rejected, Unavailable
from dataflow.core.ids import CommandId, Offset, PipelineId
from dataflow.core.ids import Sequence as SequenceNumber
from dataflow.journal.cassandra.encoding import decode, encode
from dataflow.journal.cassandra.errors import is_busy, translate
from dataflow.journal.cassandra.options import Options
from dataflow.journal.contract import Hash, Record

FULL = NoHostAvailable("none", {"a": ConnectionBusy("full"), "b": NoConnectionsAvailable("full")})
HALF_SENT = NoHostAvailable("none", {"a": ConnectionBusy("full"), "b": ConnectionException("cut")})

UNKNOWN = (
    OperationTimedOut(),
    WriteTimeout("late", write_type=WriteType.CAS, consistency=ConsistencyLevel.SERIAL),
    ServerError(0x1700, "CAS write is unknown", {}),
    TooFewReplicas("one of two"),
    ConnectionShutdown("closed"),
    NoHostAvailable("none", {}),
    NoHostAvailable("none", {"a": ConnectionException("marked down or removed")}),
    HALF_SENT,
    RuntimeError("whatever a later driver raises"),
)


@pytest.mark.parametrize("error", UNKNOWN, ids=lambda error: type(error).__name__)
def test_a_failed_conditional_write_may_have_been_written(error: Exception) -> None:
    """No error says that a coordinator will not carry it out after all."""
    told = translate(error, "the store", conditional=True)
    assert isinstance(told, Unavailable)
    assert told.code is Code.OUTCOME_UNKNOWN
    assert "the store" in told.message


@pytest.mark.parametrize("error", UNKNOWN, ids=lambda error: type(error).__name__)
def test_a_failed_plain_request_can_be_made_again(error: Exception) -> None:
    """It reads, or writes what may be written twice."""
    told = translate(error, "the store")
    assert isinstance(told, Unavailable)
    assert told.code is Code.STORAGE


@pytest.mark.parametrize("error", [ConnectionBusy("full"), NoConnectionsAvailable("full"), FULL])
def test_what_no_connection_took_was_not_sent(error: Exception) -> None:
    """The one error after which the same write is simply made again, a little later."""
    assert is_busy(error)
    told = translate(error, "the store", conditional=True)
    assert (type(told), told.code) == (Unavailable, Code.BUSY)
    assert "nothing was written" in told.message


@pytest.mark.parametrize("error", UNKNOWN, ids=lambda error: type(error).__name__)
def test_nothing_else_counts_as_not_sent(error: Exception) -> None:
    """A host among several may have taken it."""
    assert not is_busy(error)


@pytest.mark.parametrize("error", [InvalidRequest("no such column"), Unauthorized("no")])
def test_a_request_that_is_wrong_is_not_repeated(error: Exception) -> None:
    """The server has not begun; asking again for ever would hide it."""
    told = translate(error, "the store", conditional=True)
    assert told.code is Code.INTERNAL


@pytest.mark.parametrize(
    ("points", "endpoints"),
    [
        (["a"], [("a", 9042)]),
        (["a:1", "10.0.0.1:9043"], [("a", 1), ("10.0.0.1", 9043)]),
    ],
)
def test_servers_are_named_by_host_and_port(
    points: list[str], endpoints: list[tuple[str, int]]
) -> None:
    """The port is Cassandra's own unless another is named."""
    options = Options(points, "dataflow")
    options.check()
    assert list(options.endpoints) == endpoints


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (Options([], "dataflow"), "cassandra_contact_points"),
        (Options(["a:x"], "dataflow"), "cassandra_contact_points"),
        (Options([":1"], "dataflow"), "cassandra_contact_points"),
        (Options(["a"], "Data Flow"), "cassandra_keyspace"),
        (Options(["a"], ""), "cassandra_keyspace"),
        (Options(["a"], "dataflow", replication_factor=-1), "cassandra_replication_factor"),
    ],
)
def test_options_that_are_wrong_name_their_field(options: Options, field: str) -> None:
    """Before anything is connected to; a keyspace goes into statements as it is."""
    with pytest.raises(Rejected) as told:
        options.check()
    assert told.value.field == field


def records(count: int) -> list[Record]:
    """Return records whose every field is hard to encode."""
    return [
        Record(
            offset=Offset(number),
            pipeline=PipelineId(f"p{number % 3}"),
            sequence=SequenceNumber(number * 7),
            type="Geändert",
            time=datetime(1969, 12, 31, 23, 59, 59, 999_999 - number, tzinfo=UTC),
            actor="Ωmega" * number,
            command_id=CommandId(""),
            payload=bytes([number]) * number,
            hash=Hash(bytes([number]) * 32),
        )
        for number in range(10, 10 + count)
    ]


@pytest.mark.parametrize("count", [0, 1, 20])
def test_records_come_back_from_their_bytes(count: int) -> None:
    """Every field of every one."""
    assert decode(encode(records(count)), "here") == records(count)


def test_any_damaged_byte_is_found() -> None:
    """The hash covers payloads alone; a name that changed would give an event to another."""
    content = encode(records(2))
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1
        with pytest.raises(Corrupted, match="here is not what was written"):
            decode(bytes(damaged), "here")
