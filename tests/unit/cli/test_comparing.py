"""What changed from one document to another."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.cli.board import busiest
from dataflow.cli.comparing import changes


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({"a": 1}, {"a": 1}, []),
        ({"a": 1}, {"a": 2}, [("a", 1, 2)]),
        ({"a": 1}, {"b": 1}, [("a", 1, None), ("b", None, 1)]),
        ({"a": [{"b": 1}]}, {"a": [{"b": 2}, 5]}, [("a[0].b", 1, 2), ("a[1]", None, 5)]),
        ({"a": {"b": 1}}, {"a": "text"}, [("a", {"b": 1}, "text")]),
    ],
)
def test_every_place_that_differs_is_told(old: object, new: object, found: list[Any]) -> None:
    """By its path, as errors name it, with what was there and what is."""
    assert list(changes(old, new)) == found


def test_failed_pipelines_come_before_busy_ones() -> None:
    """They are what somebody has to do something about."""
    pipelines = [
        {"pipelineId": "idle", "status": "stopped", "metrics": {"throughputPerSecond": 9}},
        {"pipelineId": "slow", "status": "running", "metrics": {"throughputPerSecond": 5}},
        {"pipelineId": "fast", "status": "running", "metrics": {"throughputPerSecond": 50}},
        {"pipelineId": "new", "status": "running"},
        {"pipelineId": "broken", "status": "failed"},
    ]
    found = [p["pipelineId"] for p in busiest(pipelines, 4)]
    assert found == ["broken", "fast", "slow", "new"]
