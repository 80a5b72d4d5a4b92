"""What a failure may say at most: the journal keeps it for ever."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from dataflow.connect import OnError
from dataflow.core.errors import Rejected
from dataflow.core.ids import SplitId
from dataflow.engine.failure import (
    MESSAGE_MAX,
    STACK_TRACE_MAX,
    pipeline_error,
    shortened,
)
from dataflow.engine.rejects import ERROR_SHOWN_MAX, Rejects

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_a_stack_trace_is_kept_from_its_end() -> None:
    """The end names the error and the line that raised it."""
    error = ExceptionGroup("tasks", [ValueError("x" * STACK_TRACE_MAX + "the end")])
    told = shortened(pipeline_error(error))
    assert len(told.stack_trace) == STACK_TRACE_MAX
    assert told.stack_trace.endswith("xthe end\n")


def test_a_message_is_kept_from_its_beginning() -> None:
    """The beginning says what is wrong; the rest is often what was sent."""
    told = shortened(pipeline_error(Rejected("no such table: " + "x" * MESSAGE_MAX)))
    assert told.message.startswith("no such table")
    assert len(told.message) == MESSAGE_MAX


def test_the_error_of_a_record_is_shown_from_its_beginning() -> None:
    """A parser may quote the whole record, which can have 16 MiB."""
    refused = pa.record_batch(
        {
            "index": pa.array([0], pa.int64()),
            "record": pa.array(["x"], pa.large_string()),
            "error": pa.array(["y" * ERROR_SHOWN_MAX + "z"], pa.large_string()),
        }
    )
    with pytest.raises(Rejected) as caught:
        Rejects("source", OnError.FAIL).unread(SplitId("a"), refused, 0, NOW, schema=pa.schema([]))
    assert "y" * ERROR_SHOWN_MAX + "; set onError" in caught.value.message
