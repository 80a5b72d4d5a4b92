"""A split that the last run was in the middle of, and that is not there in the next."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from dataflow.connect import Chunk, Context, Rejected, SourceStep, Split, Waiting
from dataflow.core.checkpoint import Checkpoint, SplitPosition
from dataflow.core.ids import Lineage, SplitId
from dataflow.core.spec import Source as SourceOf
from dataflow.core.spec import Transform
from tests.contract.connect.examples.lines import SPEC as LINES
from tests.contract.connect.examples.lines import Lines, LinesOptions, LinesPosition
from tests.contract.connect.places import ids_of_files
from tests.contract.engine.owner import Broken, Owner, Points
from tests.contract.engine.test_sinks import KINDS, pipeline, registry

HALF = SplitPosition('{"byte":4}', 2)
"""Behind the second line of a file."""


class Minding(Lines):
    """Refuses to go on without a file that it is asked about, or waits until it is put back."""

    calls: ClassVar[list[tuple[str, SplitId, LinesPosition | None]]] = []
    back_at: ClassVar[int] = 3
    """How often it is asked until then; 0 is never."""

    async def gone(self, split: Split, position: LinesPosition) -> None:
        self.calls.append(("gone", split.id, position))
        if not self.back_at:
            raise Rejected(f"{split.id} is gone", code="SOURCE_CHANGED")
        if len(self.calls) < self.back_at:
            raise Waiting(f"{split.id}: put it back")
        await asyncio.to_thread((self._folder / split.id).write_text, "1\n2\n3\n")

    def read(
        self, split: Split, start: LinesPosition | None
    ) -> AsyncGenerator[Chunk[LinesPosition], None]:
        self.calls.append(("read", split.id, start))
        return super().read(split, start)


def open_minding(step: SourceStep, options: LinesOptions, _: Context) -> Minding:
    """Return the source of a step."""
    return Minding(Path(step.connection_string), options, step.batch_size)


MINDING = replace(LINES, name="minding", open=f"{__name__}:open_minding")


def left(root: Path, source: str, **positions: SplitPosition) -> Owner:
    """Return an owner whose last run has left positions in files; only ``b.txt`` is there."""
    (root / "in").mkdir()
    (root / "in" / "b.txt").write_text("7\n8\n")
    shape = json.dumps({"compute": {"id": "CAST(CAST(line AS string) AS int)"}, "keep": ["id"]})
    begin = SourceOf(source, str(root / "in"), batch_size=1, poll_interval_ms=1)
    spec = pipeline(KINDS["staging"], begin, root / "out", Transform("shape", "map", options=shape))
    files = {f"{name}.txt": position for name, position in positions.items()}
    stored = Checkpoint(lineage=Lineage(1), seeded=True, positions=files)
    Minding.calls = []
    return Owner(registry(MINDING), spec, root / "objects", stored)


async def test_a_half_read_split_is_waited_for_before_anything_is_read(tmp_path: Path) -> None:
    """Where its source says so; the splits are listed anew then, and it is gone on with."""
    await left(tmp_path, "minding", a=HALF).live(Points())
    asked = ("gone", "a.txt", LinesPosition(byte=4))
    read = [("read", "a.txt", LinesPosition(byte=4)), ("read", "b.txt", None)]
    assert Minding.calls == [asked, asked, asked, *read]
    assert ids_of_files(tmp_path / "out") == [3, 7, 8]


@pytest.mark.parametrize("kind", ["bounded", "unbounded"])
async def test_a_source_may_refuse_to_go_on_without_a_half_read_split(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it had left unread is lost, and somebody has to know."""
    monkeypatch.setattr(Minding, "bounded", kind == "bounded")
    monkeypatch.setattr(Minding, "back_at", 0)
    with pytest.raises(Broken, match=r"a\.txt is gone") as broken:
        await left(tmp_path, "minding", a=HALF).live(Points())
    assert broken.value.error.code == "SOURCE_CHANGED"
    assert broken.value.error.step == "source"


async def test_a_source_is_asked_about_half_read_splits_alone(tmp_path: Path) -> None:
    """Not about what is there, was read to its end or never begun, or is another source's."""
    owner = left(
        tmp_path,
        "minding",
        b=SplitPosition('{"byte":2}', 1),
        ended=replace(HALF, ended=True),
        begun=SplitPosition('{"byte":0}'),
        other=SplitPosition('{"row":3}', 3),
    )
    await owner.live(Points())
    assert Minding.calls == [("read", "b.txt", LinesPosition(byte=2))]
    assert ids_of_files(tmp_path / "out") == [8]


async def test_a_source_that_says_nothing_passes_over_what_is_gone(tmp_path: Path) -> None:
    """An author need not know of this."""
    owner = left(tmp_path, "lines", a=HALF)
    await owner.live(Points())
    assert ids_of_files(tmp_path / "out") == [7, 8]
