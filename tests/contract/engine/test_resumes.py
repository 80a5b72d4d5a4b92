"""Whether a source is told, before it is opened, that positions are there to go on from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from dataflow.connect import Context, Pinned, SourceStep
from dataflow.core.checkpoint import SplitPosition
from tests.contract.connect.examples.lines import SPEC as LINES
from tests.contract.connect.examples.lines import Lines, LinesOptions
from tests.contract.engine.owner import Points
from tests.contract.engine.test_gone import HALF, left
from tests.contract.engine.test_sinks import registry


class Hearing(Lines):
    """Notes what it was told when it was opened."""

    heard: ClassVar[list[bool]] = []

    async def open(self, pinned: Pinned | None) -> Pinned | None:
        self.heard.append(self.resumes)
        return pinned


def open_hearing(step: SourceStep, options: LinesOptions, _: Context) -> Hearing:
    """Return the source of a step."""
    return Hearing(Path(step.connection_string), options, step.batch_size)


HEARING = replace(LINES, name="hearing", open=f"{__name__}:open_hearing")


@pytest.mark.parametrize(
    ("split", "position", "expected"),
    [
        ("b", HALF, True),
        ("ended", SplitPosition(ended=True), False),
        ("other", SplitPosition('{"row":3}', 3), False),
    ],
)
async def test_a_source_hears_of_its_own_positions_before_it_is_opened(
    tmp_path: Path, split: str, position: SplitPosition, *, expected: bool
) -> None:
    """A lineage that goes on has pinned nothing yet, and what upstream holds has to stay."""
    Hearing.heard = []
    owner = left(tmp_path, "hearing", **{split: position})
    owner.registry = registry(HEARING)
    await owner.live(Points())
    assert Hearing.heard == [expected]
