"""Parameters that many requests share: pages, and moments of the past."""

from __future__ import annotations

from datetime import datetime, timedelta

from dataflow.core.errors import Rejected
from dataflow.core.ids import Sequence
from dataflow.wire.json_times import EPOCH, read_moment

PAGE_DEFAULT = 50
PAGE_MAX = 1_000
"""A page is made and sent as one message."""

NUMBER_DIGITS_MAX = 18
"""Fits 63 bits."""


def page_size(asked: int) -> int:
    """Return how many entries a page shall have; raises ``Rejected``."""
    if not 0 <= asked <= PAGE_MAX:
        raise Rejected(f"use 1 to {PAGE_MAX}", field="pageSize")
    return asked or PAGE_DEFAULT


def page_number(token: str, default: int) -> int:
    """Return the number at which a page begins; raises ``Rejected`` for a token made elsewhere."""
    if not token:
        return default
    found = _number(token)
    if found is None:
        raise Rejected("is not a token of this list; take nextPageToken", field="pageToken")
    return found


def moment(text: str) -> Sequence | datetime:
    """Return a moment of the past: the number of an event, or a time.

    Raises:
        Rejected: it is neither.
    """
    found = _number(text)
    if found:
        return Sequence(found)
    time = read_moment(text)
    if time is None:
        raise Rejected(
            "give the sequence number of an event, or a time such as 2026-05-01T12:00:00Z",
            field="at",
        )
    seconds, nanoseconds = time
    return EPOCH + timedelta(seconds=seconds, microseconds=nanoseconds // 1_000)


def _number(text: str) -> int | None:
    fits = text.isascii() and text.isdecimal() and len(text) <= NUMBER_DIGITS_MAX
    return int(text) if fits else None
