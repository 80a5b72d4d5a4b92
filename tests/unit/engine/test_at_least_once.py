"""A sink that says that it takes every row is held to it: rows were not numbered for it."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dataflow.connect import AtLeastOnceSink, Rejected, Task
from dataflow.core.ids import SplitId
from dataflow.engine.outputs import AtLeastOnce

ROWS = pa.RecordBatch.from_pydict({"n": [1, 2]})
REFUSED = pa.RecordBatch.from_pydict({"index": pa.array([1], pa.int64()), "error": ["no"]})


class Refusing(AtLeastOnceSink):
    """Refuses the second row, whatever it says."""

    def __init__(self, *, refuses: bool) -> None:
        self.refuses = refuses

    async def open(self, task: Task) -> None:
        """Nothing is opened."""

    async def write(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Refuse."""
        return REFUSED

    async def flush(self) -> None:
        """Nothing waits."""


async def test_what_a_sink_refuses_is_handed_on() -> None:
    """Its records are then dealt with as the pipeline's options say."""
    output = AtLeastOnce(Refusing(refuses=True))
    assert output.refuses
    assert await output.write(ROWS, SplitId("a")) is REFUSED


async def test_a_sink_that_says_it_never_refuses_must_not() -> None:
    """Nobody could tell which records these rows were."""
    output = AtLeastOnce(Refusing(refuses=False))
    assert not output.refuses
    with pytest.raises(Rejected, match="says that it never does"):
        await output.write(ROWS, SplitId("a"))
