"""A log with small segments."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.engine.ingest.pushing import Pushing

SEGMENT_BYTES = 2_000


@pytest.fixture
async def pushing(tmp_path: Path) -> AsyncIterator[Pushing]:
    """Return a log that takes few batches a segment."""
    made = Pushing(tmp_path / "logs", segment_bytes=SEGMENT_BYTES)
    yield made
    await made.logs.close()
