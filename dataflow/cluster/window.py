"""The commands a shard remembers, so that a retry gets the first answer."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TypeAlias

from dataflow.core.answers import Answer
from dataflow.core.commands import Command
from dataflow.core.errors import Code, Rejected
from dataflow.core.events import CommandAccepted, Event
from dataflow.core.state import Drain, State
from dataflow.wire.journalled import Remembered, remembered_bytes, remembered_from

Key: TypeAlias = tuple[str, str]
"""Who sent a command, and under which id."""

COMMANDS_MAX = 10_000
"""A shard's share of memory for answers: about 4 MB."""

AGE_MAX = timedelta(hours=1)
"""Far beyond any sensible retry; callers are told to stop retrying well before."""


class Window:
    """Accepted commands by caller and id, oldest first, bounded in number and age.

    The age is measured between journalled times, so that every replay forgets alike. Those that a
    snapshot holds rest as its bytes, so that the next snapshot encodes only what came since.
    """

    def __init__(self, remembered: Iterable[Remembered] = ()) -> None:
        self._resting: dict[Key, tuple[datetime, bytes]] = {}
        self._recent = {(r.actor, r.command_id): r for r in remembered}

    def find(self, command: Command) -> Answer | None:
        """Return the answer that this command got the first time; raises as ``recall``."""
        key = (command.actor, command.command_id)
        found = self._recent.get(key)
        if found is None and key in self._resting:
            found = remembered_from(self._resting[key][1])
        return recall(found, command)

    def add(self, remembered: Remembered) -> None:
        """Remember one more, forgetting those that are too many or too old."""
        key = (remembered.actor, remembered.command_id)
        self._resting.pop(key, None)
        self._recent[key] = remembered
        while True:
            if self._resting:
                oldest, (time, _) = next(iter(self._resting.items()))
            else:
                oldest, first = next(iter(self._recent.items()))
                time = first.answer.time
            count = len(self._resting) + len(self._recent)
            if count <= COMMANDS_MAX and remembered.answer.time - time <= AGE_MAX:
                return
            del (self._resting or self._recent)[oldest]

    def encoded(self) -> Iterable[bytes]:
        """Return what is remembered as bytes, oldest first."""
        for key, one in self._recent.items():
            self._resting[key] = one.answer.time, remembered_bytes(one)
        self._recent.clear()
        return [encoded for _, encoded in self._resting.values()]


def recall(found: Remembered | None, command: Command) -> Answer | None:
    """Return the answer that a remembered command got, if it is the same command.

    Raises:
        Rejected: the id was used for another command.
    """
    if found is None:
        return None
    if found.digest != command.digest or found.answer.pipeline_id != command.pipeline_id:
        raise Rejected(
            f"{command.command_id!r} was used for another command; choose a new one",
            code=Code.COMMAND_ID_REUSED,
            field="commandId",
        )
    return found.answer


def remember(event: Event, state: State) -> Remembered:
    """Return how a command is remembered: told by its last event, first time and at replay."""
    changed = not isinstance(event.body, CommandAccepted)
    told = answer(state, event.time, changed=changed)
    return Remembered(event.actor, event.command_id, event.command_digest, told)


def answer(state: State, time: datetime, *, changed: bool) -> Answer:
    """Return what a command is answered that has left a pipeline in this state."""
    return Answer(
        pipeline_id=state.pipeline_id,
        status=state.status,
        message=_message(state, changed=changed),
        time=time,
        changed=changed,
        version=state.version,
        sequence=state.sequence,
    )


def _message(state: State, *, changed: bool) -> str:
    if state.draining is not Drain.NOTHING:
        return f"pipeline finishes its last checkpoint, to {state.draining}"
    return f"pipeline is {state.status}" if changed else f"pipeline already is {state.status}"
