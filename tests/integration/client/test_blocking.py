"""The twin without asyncio."""

from __future__ import annotations

import inspect
import threading
from datetime import timedelta

import pytest

from dataflow.client import DataFlow as AsyncDataFlow
from dataflow.client import Rejected, Unreachable, create_command
from dataflow.client.blocking import DataFlow
from tests.integration.client.conftest import Served

SPEC = {"source": {"sourceType": "push"}, "sink": {"sinkType": "console"}}


def test_the_twin_has_every_method() -> None:
    """A method added to one and forgotten in the other would make two SDKs."""
    names = {name for name in dir(AsyncDataFlow) if not name.startswith("_")}
    assert {name for name in dir(DataFlow) if not name.startswith("_")} == names
    ours, theirs = inspect.signature(DataFlow), inspect.signature(AsyncDataFlow)
    assert ours.parameters == theirs.parameters


def test_commands_and_lists_return_when_done(apart: Served) -> None:
    """Plain calls, plain iterators, the same errors."""
    with DataFlow(apart.address) as df:
        df.create(SPEC, pipeline_id="a")
        df.start("a")
        assert [p.pipeline_id for p in df.list()] == ["a"]
        assert df.push("a", [{"n": 1}]).records == 1
        assert [a.records for a in df.push_many("a", [[{"n": 1}] * 2, [{"n": 1}]])] == [2, 1]
        bulk = df.execute(create_command(SPEC, pipeline_id=f"p-{n}") for n in range(3))
        assert [a.pipeline_id for a in bulk] == ["p-0", "p-1", "p-2"]
        with pytest.raises(Rejected, match="no 'nobody'"):
            df.start("nobody")


def test_a_watch_can_be_left(apart: Served) -> None:
    """A for loop that breaks off ends the stream behind it."""
    with DataFlow(apart.address) as df:
        df.create(SPEC, pipeline_id="a")
        for change in df.watch("a", after=0):
            assert change.event.sequence == 1
            break


def test_a_closed_twin_leaves_no_thread_and_says_that_it_is_closed(apart: Served) -> None:
    """A program that ends must not hang on a loop that nobody stops."""
    with DataFlow(apart.address) as df:
        df.create(SPEC, pipeline_id="a")
    assert not [t for t in threading.enumerate() if t.name == "dataflow-client"]
    with pytest.raises(RuntimeError, match="not open"):
        df.start("a")


def test_no_server_is_unreachable() -> None:
    """The same error as with asyncio."""
    with (
        DataFlow("127.0.0.1:1", timeout=timedelta(milliseconds=100)) as df,
        pytest.raises(Unreachable),
    ):
        df.health("a")


def test_a_wrong_setting_is_raised_where_the_client_is_opened() -> None:
    """Not in a thread that nobody looks at."""
    with pytest.raises(Rejected, match="token"), DataFlow("example.org:50051", token="secret"):
        pass
