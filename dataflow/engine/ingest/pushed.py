"""What a sender pushes, what its pipeline allows, and what it is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import xxhash


class IngestOptions(Protocol):
    """What a source's options say about its log."""

    @property
    def types(self) -> Mapping[str, str]:
        """Return the declared columns; none to take them from the first batch."""
        ...

    @property
    def buffer_bytes(self) -> int:
        """Return how much may wait for a decision."""
        ...


@dataclass(frozen=True, slots=True)
class Ingested:
    """A batch that is durable; ``duplicate`` if it already was before this call."""

    records: int
    first_offset: int
    duplicate: bool


@dataclass(frozen=True, slots=True)
class Pushed:
    """A batch as it came. ``content_type`` is one of those that ``parse`` knows."""

    batch_id: str
    content_type: str
    payload: bytes

    def digest(self) -> bytes:
        """Return what tells two batches apart; 16 MiB take 2 ms."""
        state = xxhash.xxh3_128(self.content_type.encode() + b"\n")
        state.update(self.payload)
        return state.digest()


@dataclass(frozen=True, slots=True)
class Parsed:
    """A batch as it is stored, and the schema that its log has or gets."""

    schema: bytes
    records: int
    body: bytes


Parse: TypeAlias = Callable[[Pushed, Mapping[str, str], bytes | None], Awaitable[Parsed]]
"""As ``parse.parse``: a batch, the declared columns, and the schema of its log if it has one."""
