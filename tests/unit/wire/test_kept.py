"""Encodings that are kept are those of what is encoded."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from dataflow.core.light import replace
from dataflow.core.spec import PipelineOptions, PipelineSpec, Sink, Source, Transform
from dataflow.core.state import State
from dataflow.wire import kept
from dataflow.wire.journalled import state_bytes, state_from

SPEC = PipelineSpec(
    name="a",
    transforms=(Transform(id="t", transform_type="filter"),),
    sources={"in": Source("file")},
    sinks={"out": Sink("file")},
)


NONE: Mapping[str, Any] = {}


def read_back(spec: PipelineSpec) -> PipelineSpec:
    """Return a spec as it is after it has been stored."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return state_from(state_bytes(State(spec=spec, created_at=now))).spec


@pytest.mark.parametrize(
    "spec",
    [
        replace(SPEC, name="b", description="c", labels={"d": "e"}),
        replace(SPEC, sinks={"out": Sink("console")}),
        replace(SPEC, transforms=()),
        SPEC,
    ],
)
def test_a_spec_that_shares_steps_keeps_what_is_its_own(spec: PipelineSpec) -> None:
    """Versions share most objects; the one that differs must not be taken from the kept ones."""
    read_back(SPEC)
    assert read_back(spec) == spec


def test_a_new_object_is_not_taken_for_one_that_is_gone() -> None:
    """Objects are known by id, and the id of one that is gone soon is that of another."""
    options = [PipelineOptions(checkpoint_rows=number) for number in range(200)]
    read = [
        read_back(PipelineSpec(options=replace(option), sources=NONE, sinks=NONE)).options
        for option in options
    ]
    assert read == options


def test_no_more_is_kept_than_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is too many makes room, and is right all the same."""
    monkeypatch.setattr(kept, "KEPT_MAX", 2)
    specs = [PipelineSpec(sources={"in": Source("file", str(n))}) for n in range(5)]
    assert [read_back(spec) for spec in specs * 2] == specs * 2
