"""How the splits of several sources are named in one pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dataflow.core.errors import Rejected
from dataflow.core.ids import SplitId
from dataflow.core.spec import SOURCE

SEPARATOR = "::"
"""Between the names of a source and of a split; no name of a step holds it."""

ROUNDS = "rounds"
"""Stands for a source in the names of what is not a split: the rounds of scheduled sources."""


@dataclass(frozen=True, slots=True)
class SplitNames:
    """The names of one source's splits among those of a pipeline.

    Those of the source of a short form stand alone, so that a pipeline may get a second source
    and go on.
    """

    source: str
    others: Sequence[str]

    def named(self, split: SplitId) -> SplitId:
        """Return the name of a split as the pipeline knows it."""
        if self.source != SOURCE:
            return SplitId(f"{self.source}{SEPARATOR}{split}")
        if not self.own(split):
            raise Rejected(f"split {split!r} begins as those of another source of the pipeline")
        return split

    def own(self, name: str) -> SplitId | None:
        """Return the split that a name is of, if it is one of the source's."""
        if self.source != SOURCE:
            prefix = f"{self.source}{SEPARATOR}"
            return SplitId(name.removeprefix(prefix)) if name.startswith(prefix) else None
        others = (*self.others, ROUNDS)
        taken = any(name.startswith(f"{other}{SEPARATOR}") for other in others)
        return None if taken else SplitId(name)

    @property
    def rounds(self) -> SplitId:
        """Return the name under which a checkpoint has the source's latest round."""
        return SplitId(f"{ROUNDS}{SEPARATOR}{self.source}")
