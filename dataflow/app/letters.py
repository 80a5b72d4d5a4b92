"""What programs of a cluster ask each other of dead letters: twins, as those of ``questions``."""

from __future__ import annotations

from dataclasses import dataclass

from dataflow.core.ids import PipelineId
from dataflow.server import backend as b


@dataclass(frozen=True, slots=True)
class AboutLetters:
    """A question about dead letters of one pipeline; what is unused stays empty."""

    pipeline_id: PipelineId
    after: str = ""
    limit: int = 0
    wanted: b.Wanted = b.EVERY
    asking: b.ReplayLetters = b.NO_REPLAY


@dataclass(frozen=True, slots=True)
class LetterCauses:
    """Why letters were kept."""

    causes: tuple[b.Cause, ...]


@dataclass(frozen=True, slots=True)
class LettersPurged:
    """How many letters are gone."""

    letters: int


@dataclass(frozen=True, slots=True)
class PageOfLetters:
    """Dead letters, how many there are, and where the next page begins."""

    letters: tuple[b.DeadLetter, ...]
    total: int
    following: str
