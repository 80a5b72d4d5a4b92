"""A log with small segments."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.unit.engine.ingest.pushing import Pushing

SEGMENT_BYTES = 2_000


@pytest.fixture(params=[False, True], ids=["here", "followed"])
async def pushing(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pushing]:
    """Return a log that takes few batches a segment, read here or as a worker process does."""
    made = Pushing(tmp_path / "logs", followed=request.param, segment_bytes=SEGMENT_BYTES)
    yield made
    await made.logs.close()
