"""What is kept as bytes: events for ever, states and decisions until the next one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.message import DecodeError

from dataflow.core import events
from dataflow.core.answers import Answer
from dataflow.core.checkpoint import Checkpoint
from dataflow.core.errors import Corrupted
from dataflow.core.light import light
from dataflow.core.state import State
from dataflow.v1 import event_pb2 as pb
from dataflow.wire.core import to_core, to_message
from dataflow.wire.json import dump


@light
@dataclass(frozen=True, slots=True)
class Remembered:
    """A command that was accepted: who sent it, what it asked, what it was answered."""

    actor: str
    command_id: str
    digest: bytes
    answer: Answer


def event_bytes(event: events.Event) -> bytes:
    """Return an event as it is journalled: the same bytes for the same event, always."""
    return to_message(event, pb.Event).SerializeToString(deterministic=True)


def event_from(payload: bytes) -> events.Event:
    """Read a journalled event.

    Raises:
        Corrupted: it is no event, or of a schema version that this release does not know.
    """
    try:
        message = pb.Event.FromString(payload)
    except DecodeError as error:
        raise Corrupted(f"an event of {len(payload)} bytes cannot be read: {error}") from error
    if message.schema_version != events.SCHEMA_VERSION or message.WhichOneof("body") is None:
        raise Corrupted(
            f"event {message.sequence} of {message.pipeline_id!r} has schema version"
            f" {message.schema_version} and a body this release does not know; upgrade"
        )
    try:
        return to_core(message, events.Event)
    except (KeyError, ValueError, OverflowError) as error:  # a word of an enum, a moment in time
        raise Corrupted(
            f"event {message.sequence} of {message.pipeline_id!r} holds what this release does"
            f" not know ({error}); upgrade"
        ) from error


def event_json(payload: bytes) -> bytes:
    """Return a journalled event as the API shows it, as JSON.

    Raises:
        Corrupted: as ``event_from``.
    """
    return dump(to_message(event_from(payload), pb.Event))


def event_bytes_and_json(event: events.Event) -> tuple[bytes, bytes]:
    """Return an event as ``event_bytes`` and as ``event_json`` have it, translated once."""
    message = to_message(event, pb.Event)
    return message.SerializeToString(deterministic=True), dump(message)


def state_bytes(state: State) -> bytes:
    """Return an aggregate at rest."""
    return to_message(state, pb.State).SerializeToString()


def state_from(payload: bytes) -> State:
    """Return an aggregate ready to decide."""
    return to_core(pb.State.FromString(payload), State)


def checkpoint_bytes(checkpoint: Checkpoint) -> bytes:
    """Return a decision as its register keeps it."""
    return to_message(checkpoint, pb.Checkpoint).SerializeToString()


def checkpoint_from(payload: bytes) -> Checkpoint:
    """Read a register."""
    return to_core(pb.Checkpoint.FromString(payload), Checkpoint)


def remembered_bytes(command: Remembered) -> bytes:
    """Return a command at rest, as its part of a snapshot."""
    return pb.Snapshot(commands=[to_message(command, pb.Remembered)]).SerializeToString()


def remembered_from(payload: bytes) -> Remembered:
    """Return a command that is at rest."""
    return to_core(pb.Snapshot.FromString(payload).commands[0], Remembered)


def snapshot_bytes(states: Mapping[str, bytes], commands: Iterable[bytes]) -> bytes:
    """Return a shard at rest: messages one after another are one with all of their entries."""
    return b"".join([pb.Snapshot(states=states.values()).SerializeToString(), *commands])


def snapshot_from(payload: bytes) -> tuple[dict[str, bytes], list[Remembered]]:
    """Return a shard's passive aggregates by id, and its window of commands in order."""
    snapshot = pb.Snapshot.FromString(payload)
    states = {pb.State.FromString(state).pipeline_id: state for state in snapshot.states}
    return states, [to_core(command, Remembered) for command in snapshot.commands]
