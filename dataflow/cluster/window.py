"""The commands a shard remembers, so that a retry gets the first answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from dataflow.core.answers import Answer
from dataflow.core.commands import Command
from dataflow.core.errors import Code, Rejected
from dataflow.wire.journalled import Remembered

COMMANDS_MAX = 10_000
"""A shard's share of memory for answers: about 4 MB."""

AGE_MAX = timedelta(hours=1)
"""Far beyond any sensible retry; callers are told to stop retrying well before."""


class Window:
    """Accepted commands by caller and id, oldest first, bounded in number and age.

    The age is measured between journalled times, so that every replay forgets alike.
    """

    def __init__(self, remembered: Iterable[Remembered] = ()) -> None:
        self._answers = {(r.actor, r.command_id): r for r in remembered}

    def find(self, command: Command) -> Answer | None:
        """Return the answer that this command got the first time; raises as ``recall``."""
        return recall(self._answers.get((command.actor, command.command_id)), command)

    def add(self, remembered: Remembered) -> None:
        """Remember one more, forgetting those that are too many or too old."""
        self._answers[remembered.actor, remembered.command_id] = remembered
        while self._answers:
            key, oldest = next(iter(self._answers.items()))
            age = remembered.answer.time - oldest.answer.time
            if len(self._answers) <= COMMANDS_MAX and age <= AGE_MAX:
                return
            del self._answers[key]

    @property
    def all(self) -> Sequence[Remembered]:
        """Return what is remembered, oldest first."""
        return tuple(self._answers.values())


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
