"""How the responses of a watch become transactions, and what counts as seen."""

from __future__ import annotations

from dataflow.cluster.coordination.contract import Revision
from dataflow.cluster.coordination.etcd.messages import span
from dataflow.cluster.coordination.etcd.watch import Reader
from dataflow.v1 import etcd_pb2 as pb

NOW = 1_000
"""The revision of the store, in every header."""


def response(
    *revisions: int, fragment: bool = False, created: bool = False
) -> pb.EtcdWatchResponse:
    """Return a response with an event at each revision."""
    events = [pb.EtcdEvent(kv=pb.EtcdKeyValue(key=b"a", mod_revision=r)) for r in revisions]
    header = pb.EtcdHeader(revision=NOW)
    return pb.EtcdWatchResponse(header=header, events=events, fragment=fragment, created=created)


def read(reader: Reader, given: pb.EtcdWatchResponse) -> list[list[int]]:
    """Return the revisions of what became complete."""
    return [[change.revision for change in group] for group in reader.read(given)]


def test_each_revision_is_one_transaction() -> None:
    """A response holds as many as there was time to gather."""
    assert read(Reader(Revision(1)), response(2, 2, 5, 6)) == [[2, 2], [5], [6]]


def test_what_is_seen_is_the_last_event_and_not_the_header() -> None:
    """A watch that catches up is sent the store's revision with its first thousand events."""
    reader = Reader(Revision(1))
    read(reader, response(created=True))
    assert reader.seen == 1
    read(reader, response(2, 5))
    assert reader.seen == 5


def test_a_response_without_events_says_how_far_the_member_has_come() -> None:
    """Everything up to there was sent before it."""
    reader = Reader(Revision(1))
    read(reader, response())
    assert reader.seen == NOW


def test_a_transaction_over_two_fragments_comes_when_it_is_whole() -> None:
    """And what was whole before it does not wait."""
    reader = Reader(Revision(1))
    assert read(reader, response(2, 3, fragment=True)) == [[2]]
    assert reader.seen == 2
    assert read(reader, response(3, fragment=True)) == []
    assert read(reader, response(3, 4)) == [[3, 3, 3], [4]]
    assert reader.seen == 4


def test_half_a_transaction_is_forgotten_when_the_watch_is_opened_again() -> None:
    """It comes again as a whole, and would have its first half twice."""
    reader = Reader(Revision(1))
    read(reader, response(2, fragment=True))
    reader.restart()
    assert read(reader, response(2, 2)) == [[2, 2]]


def test_what_was_seen_is_not_told_again() -> None:
    """A watch is opened at what was seen, so that is what comes first."""
    reader = Reader(Revision(5))
    assert read(reader, response(5, 5, 6)) == [[6]]
    assert read(reader, response(6, 7)) == [[7]]


def test_a_span_holds_the_keys_under_a_prefix() -> None:
    """And all keys where there is no prefix."""
    assert span("shard/") == (b"shard/", b"shard0")
    assert span("") == (b"\0", b"\0")
    first, end = span("é")
    assert first < "éa".encode() < end
    assert end <= "ê".encode()
