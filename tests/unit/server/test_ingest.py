"""Cutting a batch out of its envelope."""

from __future__ import annotations

import json

import pytest

from dataflow.core.errors import Invalid
from dataflow.server.ingest import unwrap

RECORDS = rb'[{"a": "]}"}, {"b": "\", \"batchId\": \"x\"}"}]'


@pytest.mark.parametrize(
    ("body", "batch"),
    [
        (b'{"batchId": "b", "records": ' + RECORDS + b"}", "b"),
        (b'{"records": ' + RECORDS + b', "batchId": "b"}', "b"),
        (b' {"records":' + RECORDS + b"\n}\n", ""),
        (b'{"batchId": "\\u00e9\\"", "records": ' + RECORDS + b"}", 'é"'),
    ],
)
def test_records_are_cut_out_as_they_stand(body: bytes, batch: str) -> None:
    """Whatever their texts hold, and wherever the batch id stands."""
    assert unwrap(body) == (batch, RECORDS)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"batchId": "a", "records": [], "batchId": "b"}', "given twice"),
        (b'{"records": [], "record": []}', "unknown field 'record'"),
        (b'{"records": {}}', "expected a list"),
        (b'{"batchId": "a"}', "missing"),
        (b"[]", "not a list"),
        (b'{"records": [', "not JSON"),
        (b"", "not JSON"),
        (b'{"x": "' + b" " * (1 << 20) + b'"}', "and nothing else"),
    ],
)
def test_what_is_no_envelope_is_refused_with_a_reason(body: bytes, said: str) -> None:
    """Before anything is pushed."""
    with pytest.raises(Invalid, match=said):
        unwrap(body)


def test_what_is_between_large_ends_is_judged_where_it_is_parsed() -> None:
    """It must not become valid by being cut: two lists stay two lists."""
    space = b" " * (16 << 10)
    body = b'{"records": [1], "records": [2' + space + b"]}"
    assert unwrap(body) == ("", b'[1], "records": [2' + space + b"]")


def test_a_number_of_more_than_64_bits_is_left_to_the_parser() -> None:
    """Which names the record and the field; this one was an unexpected error once."""
    body = b'{"records":[{"id":-9223372036854775809}]}'
    assert unwrap(body) == ("", b'[{"id":-9223372036854775809}]')
    odd = b'{"records":[{"id":-9223372036854775809}],"batchId":"a"' + b" " * 2000 + b"}"
    assert json.loads(unwrap(odd)[1]) == [{"id": -9223372036854775809}]
