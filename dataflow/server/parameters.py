"""Parameters that many requests share: pages, and moments of the past."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from google.protobuf.message import Message

from dataflow.core import ids
from dataflow.core.errors import Rejected
from dataflow.wire.json_times import EPOCH, read_moment

M = TypeVar("M", bound=Message)

PAGE_DEFAULT = 50
PAGE_MAX = 1_000
"""A page is made and sent as one message."""

PAGE_BYTES_MAX = 4 << 20
"""A page ends here too: a quarter of the largest message, since JSON takes more room."""

OTHER_LIST = "is not a token of this list; take nextPageToken"

NUMBER_DIGITS_MAX = 18
"""Fits 63 bits."""


def page_size(asked: int) -> int:
    """Return how many entries a page shall have; raises ``Rejected``."""
    if not 0 <= asked <= PAGE_MAX:
        raise Rejected(f"use 1 to {PAGE_MAX}", field="pageSize")
    return asked or PAGE_DEFAULT


def fitting(entries: Sequence[M], size: int) -> Sequence[M]:
    """Return the entries of a page: as many as its size and its bytes allow, and at least one."""
    total = 0
    for index, entry in enumerate(entries[:size]):
        total += entry.ByteSize()
        if total > PAGE_BYTES_MAX and index:
            return entries[:index]
    return entries[:size]


def page_id(token: str) -> ids.PipelineId:
    """Return the id behind which a page begins; raises ``Rejected`` for a token made elsewhere."""
    if token and not ids.PIPELINE_ID.fullmatch(token):
        raise Rejected(OTHER_LIST, field="pageToken")
    return ids.PipelineId(token)


def page_number(token: str, default: int) -> int:
    """Return the number at which a page begins; raises ``Rejected`` for a token made elsewhere."""
    if not token:
        return default
    found = _number(token)
    if found is None:
        raise Rejected(OTHER_LIST, field="pageToken")
    return found


def moment(text: str) -> ids.Sequence | datetime:
    """Return a moment of the past: the number of an event, or a time.

    Raises:
        Rejected: it is neither.
    """
    found = _number(text)
    if found:
        return ids.Sequence(found)
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
