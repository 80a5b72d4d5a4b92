"""Whatever the core can say crosses a process and comes back the same."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dataflow.core import answers, checkpoint, lifecycle, spec
from dataflow.core import events as e
from dataflow.core import messages as m
from dataflow.core.checkpoint import Checkpoint
from dataflow.core.errors import Corrupted
from dataflow.core.state import State
from dataflow.engine import records
from dataflow.engine.processes import messages as p
from dataflow.v1 import event_pb2 as pb
from dataflow.wire.journalled import (
    Remembered,
    checkpoint_bytes,
    checkpoint_from,
    event_bytes,
    event_from,
    remembered_bytes,
    snapshot_bytes,
    snapshot_from,
    state_bytes,
    state_from,
)
from dataflow.wire.messages import (
    from_process,
    from_process_bytes,
    owner_message,
    owner_message_bytes,
    to_process,
    to_process_bytes,
    worker_message,
    worker_message_bytes,
)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MOMENT_MAX = 10**15
integers = st.integers(-(2**31), 2**31 - 1)
texts = st.text(st.characters(codec="utf-8"), max_size=8)
st.register_type_strategy(int, integers)
st.register_type_strategy(str, texts)
st.register_type_strategy(float, st.floats(allow_nan=False))  # which would not equal itself
st.register_type_strategy(
    datetime, st.integers(0, MOMENT_MAX).map(lambda us: EPOCH + timedelta(microseconds=us))
)
st.register_type_strategy(
    timedelta, st.integers(0, MOMENT_MAX).map(lambda us: timedelta(microseconds=us))
)


def _every_field(kind: type) -> st.SearchStrategy[Any]:
    """Build a dataclass with all of its fields drawn, those with defaults too."""
    hints = get_type_hints(kind)
    return st.builds(kind, **{f.name: st.from_type(hints[f.name]) for f in fields(kind)})


for module in (spec, checkpoint, e, lifecycle, m, answers, records, p):
    for kind in vars(module).values():
        if isinstance(kind, type) and is_dataclass(kind):
            st.register_type_strategy(kind, _every_field)
st.register_type_strategy(Remembered, _every_field)
segments = st.builds(replace, _every_field(p.LogSegment), salt=st.integers(0, 2**64 - 1))
st.register_type_strategy(p.LogSegment, segments)

some = settings(max_examples=25, deadline=None)
to_worker = st.one_of([st.from_type(kind) for kind in get_args(m.ToWorker)])
to_owner = st.one_of([st.from_type(kind) for kind in get_args(m.ToOwner)])


def events_of(kind: type) -> st.SearchStrategy[e.Event]:
    """Events with a body of one kind, of today's schema."""
    return st.builds(
        replace,
        st.from_type(e.Event),
        body=st.from_type(kind),
        schema_version=st.just(e.SCHEMA_VERSION),
    )


@pytest.mark.parametrize("kind", get_args(e.Body), ids=lambda kind: str(kind.__name__))
def test_every_event_survives_the_journal(kind: type) -> None:
    """An event that comes back different is an event that was changed."""

    @some
    @given(events_of(kind))
    def survives(event: e.Event) -> None:
        assert event_from(event_bytes(event)) == event
        assert event_bytes(event_from(event_bytes(event))) == event_bytes(event)

    survives()


@some
@given(st.from_type(State))
def test_a_state_survives_being_at_rest(state: State) -> None:
    """A passive aggregate is its bytes."""
    assert state_from(state_bytes(state)) == state


@some
@given(st.from_type(Checkpoint))
def test_a_decision_survives_its_register(decided: Checkpoint) -> None:
    """Recovery starts from what comes back."""
    assert checkpoint_from(checkpoint_bytes(decided)) == decided


@some
@given(
    st.lists(st.from_type(State), max_size=3, unique_by=lambda state: state.pipeline_id),
    st.lists(st.from_type(Remembered), max_size=3),
)
def test_a_snapshot_keeps_states_and_commands_in_order(
    states: list[State], commands: list[Remembered]
) -> None:
    """The order of commands is the order in which they are forgotten."""
    passive = {str(state.pipeline_id): state_bytes(state) for state in states}
    assert snapshot_from(snapshot_bytes(passive, map(remembered_bytes, commands))) == (
        passive,
        commands,
    )


@some
@given(to_worker)
def test_what_an_owner_says_can_cross_a_pipe(message: m.ToWorker) -> None:
    """So that a worker in another process needs no new code."""
    assert worker_message(worker_message_bytes(message)) == message


@some
@given(to_owner)
def test_what_a_worker_says_can_cross_a_pipe(message: m.ToOwner) -> None:
    """So that an owner on another node needs no new code."""
    assert owner_message(owner_message_bytes(message)) == message


@pytest.mark.parametrize(
    "payload",
    [
        b"\xff\xff\xff",
        pb.Event(schema_version=1).SerializeToString(),
        pb.Event(schema_version=1, run_started=pb.RunStarted(cause=99)).SerializeToString(),  # type: ignore[arg-type]  # a word of a later release
        pb.Event(schema_version=99, pipeline_started=pb.PipelineStarted()).SerializeToString(),
    ],
)
def test_an_event_of_another_time_is_not_guessed_at(payload: bytes) -> None:
    """Skipping what is not understood gives a state that never was."""
    with pytest.raises(Corrupted):
        event_from(payload)


def test_defaults_need_no_bytes() -> None:
    """A field added later reads as its default in what was written before."""
    assert state_bytes(State()) == state_bytes(state_from(state_bytes(State())))


@some
@given(st.from_type(p.ToProcess))
def test_what_a_node_says_to_its_processes_can_cross_a_pipe(said: p.ToProcess) -> None:
    """Questions and answers, too, whatever is in them."""
    assert to_process(to_process_bytes(said), p.ToProcess) == said


@some
@given(st.from_type(p.FromProcess))
def test_what_a_process_says_to_its_node_can_cross_a_pipe(said: p.FromProcess) -> None:
    """As above."""
    assert from_process(from_process_bytes(said), p.FromProcess) == said
