"""Records as people are shown them; nothing here knows Arrow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias

from dataflow.core.errors import Problem


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that a step could not handle, why, and where it came from."""

    step: str
    split: str
    ordinal: int
    record: str
    error: str
    time: datetime
    run: int = 0
    """The run that kept it."""
    id: str = ""
    """The object that holds it, and its row there."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which dead letters: those of ``ids`` if there are any, of a step, with a text in the error.

    What is empty excludes none.
    """

    ids: tuple[str, ...] = ()
    step: str = ""
    error: str = ""


EVERY = Wanted()


@dataclass(frozen=True, slots=True)
class Setting:
    """A column, and the expression that gives it its value."""

    column: str
    expression: str


@dataclass(frozen=True, slots=True)
class Patch:
    """What is changed of dead letters before they are replayed.

    Attributes:
        settings: columns that are computed anew, all from the record as it was.
        record: a whole new record, as a JSON object, of one letter alone; empty for none.
    """

    settings: tuple[Setting, ...] = ()
    record: str = ""


@dataclass(frozen=True, slots=True)
class ReplayLetters:
    """A request to replay letters; one that comes again with its id is the same."""

    request: str
    wanted: Wanted = EVERY
    patch: Patch = Patch()


NO_REPLAY = ReplayLetters("")
"""Where none is asked for."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Why letters were kept: errors that differ in numbers and quoted values alone are one."""

    step: str
    error: str
    letters: int
    example: str
    """The id of one of them."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A replay that has been asked for."""

    id: str
    letters: int
    left: int = 0
    """Letters that were named and are too many for one replay."""


@dataclass(frozen=True, slots=True)
class GivenRecords:
    """Records in place of those that a source would read: JSON objects as text."""

    records: tuple[str, ...] = ()


Given: TypeAlias = Mapping[str, GivenRecords]
"""By source."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong with a spec; if nothing is, what it guarantees, and what its steps give.

    ``columns`` are names and types by output, as far as they are known before anything runs.
    """

    problems: Sequence[Problem]
    guarantee: str = ""
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PreviewStep:
    """What came out of one output of a step, and what became of the rows that came in.

    ``columns`` are names and types, ``records`` samples as JSON text; what is counted of the step
    stands at each of its outputs.
    """

    step: str
    columns: Sequence[tuple[str, str]]
    records: Sequence[str]
    filtered: int
    rejected: Sequence[DeadLetter]
    records_in: int = 0
    records_out: int = 0
    records_produced: int = 0
    records_absorbed: int = 0
