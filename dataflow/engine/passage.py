"""What goes from step to step while one item passes through a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from dataflow.connect.transform import MAIN
from dataflow.core.ids import SplitId
from dataflow.core.light import light
from dataflow.engine.items import Replayed
from dataflow.engine.passed import Passed

if TYPE_CHECKING:
    import pyarrow as pa


@light
@dataclass(frozen=True, slots=True)
class Batch:
    """Rows, and the split they are of."""

    split: SplitId
    rows: pa.RecordBatch


@light
@dataclass(frozen=True, slots=True)
class Begun:
    """These splits, among them those known before, bring rows from now on."""

    splits: Sequence[SplitId]
    idles: bool


@light
@dataclass(frozen=True, slots=True)
class Ended:
    """A split brings no more rows."""

    split: SplitId


@light
@dataclass(frozen=True, slots=True)
class BegunAnew:
    """An input that had ended brings rows again, from its beginning."""


@light
@dataclass(frozen=True, slots=True)
class Finished:
    """An input brings no more rows."""


class Taken(NamedTuple):
    """What a step was given in one call, if rows."""

    split: SplitId
    rows: int = 0
    input: str = ""


Event: TypeAlias = Batch | Begun | Ended | BegunAnew | Finished
Brought: TypeAlias = "Mapping[str, Sequence[tuple[str, Event]]]"
"""Events by the step or sink that they go to, each with the input that it comes by."""


@dataclass(slots=True)
class Ways:
    """What one step knows of its inputs."""

    open: dict[str, set[SplitId]]
    """Splits that an input still reads, by its name."""
    unfinished: set[str]
    begun: bool = False
    idles: bool = False
    """What was last said of its splits."""


@dataclass(slots=True)
class Passage:
    """One item on its way through the graph."""

    waiting: dict[str, list[tuple[str, Event]]] = field(default_factory=dict)
    """What each step or sink has been brought, and by which input."""
    passed: dict[str, Passed] = field(default_factory=dict)

    def leave(self, sinks: Sequence[str]) -> tuple[Mapping[str, Passed], Brought]:
        """Return the accounts, and what has been brought to the sinks, and forget both."""
        passed, self.passed = self.passed, {}
        return passed, {sink: self.waiting.pop(sink, []) for sink in sinks}

    def enter_again(
        self, item: Replayed, entered: Sequence[tuple[str, str]], ways: Mapping[str, Ways]
    ) -> None:
        """Bring rows to where they fell out, as a split more of that input, whole at once.

        ``entered`` are the steps and sinks that read there, and by which input.
        """
        rows = item.batch.num_rows
        account = self.of(item.step)
        account.read = rows
        for reader, name in entered:
            if reader != item.step:  # it is a source's, and has gone on from there
                account.out[MAIN] = rows
            events: list[Event] = [Batch(item.split, item.batch)] if rows else []
            if (own := ways.get(reader)) is not None:
                begun = Begun(sorted({*own.open[name], item.split}), own.idles)
                events = [begun, *events, Ended(item.split)]
            self.waiting.setdefault(reader, []).extend((name, event) for event in events)

    def of(self, step: str) -> Passed:
        """Return the account of a step."""
        return self.passed.setdefault(step, Passed())
