"""Files cut into batches."""

from __future__ import annotations

from io import BytesIO

import pytest

from dataflow.client.records import NDJSON, Format, batch_of, read_batches
from dataflow.core.errors import Rejected


def cut(text: bytes, *, records: int = 10, size: int = 100, form: Format = "ndjson") -> list[bytes]:
    """Return the batches of a text."""
    parts = read_batches(BytesIO(text), form, records_max=records, bytes_max=size)
    return [part for part, _, _ in parts]


def test_a_batch_ends_at_either_limit() -> None:
    """Neither many small records nor few large ones make a message too large."""
    assert cut(b"{}\n" * 5, records=2) == [b"{}\n{}\n", b"{}\n{}\n", b"{}\n"]
    assert cut(b"{}\n" * 5, size=7) == [b"{}\n{}\n", b"{}\n{}\n", b"{}\n"]


def test_the_last_line_needs_no_end_and_empty_lines_are_no_records() -> None:
    """As editors leave files, and as NDJSON's readers take them."""
    assert cut(b'\n{"a":1}\n\n  \n{"a":2}') == [b'{"a":1}\n{"a":2}\n']
    assert cut(b"") == []


def test_the_same_file_is_cut_alike() -> None:
    """Batch ids count the cuts, and a second push must mean the same records by them."""
    text = b"".join(b'{"n":%d}\n' % n for n in range(100))
    assert cut(text) == cut(text)
    assert b"".join(cut(text)) == text


def test_a_record_larger_than_a_batch_is_named() -> None:
    """And read no further than the limit, whatever the file holds."""
    with pytest.raises(Rejected, match="record 2 is larger than a batch of 100 B"):
        cut(b"{}\n" + b"x" * 1000)


def test_a_document_is_cut_into_its_records() -> None:
    """An array of objects, or one object."""
    assert cut(b'[{"a": 1}, {"b": "x"}]', form="json", records=1) == [b'{"a":1}\n', b'{"b":"x"}\n']
    assert cut(b'{"a": 1}', form="json") == [b'{"a":1}\n']


def test_values_without_a_json_form_are_refused() -> None:
    """Guessing a text for them would be read back as something else."""
    with pytest.raises(Rejected, match="records: no JSON form"):
        batch_of([{"a": object()}], "b")
    assert batch_of([{"a": 1}], "b").content_type == NDJSON
