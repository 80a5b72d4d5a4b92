"""A scheduled source is read anew in each round, wherever a run breaks."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from dataflow.connect import Registry
from dataflow.connect.testkit.places import Clock
from dataflow.core.schedule import Missed, Schedule
from dataflow.core.spec import PipelineOptions, PipelineSpec, Sink, Source, Transform, canonical
from dataflow.engine import reader
from dataflow.transforms.aggregate.spec import SPEC as AGGREGATE
from dataflow.transforms.map_spec import SPEC as MAP
from tests.contract.connect.examples.arrow_files import SPEC as ARROW_FILES
from tests.contract.connect.examples.keyed import SPEC as KEYED
from tests.contract.connect.examples.lines import SPEC as LINES
from tests.contract.connect.places import ids_of_files, ids_of_keyed
from tests.contract.engine.owner import Broken, Crash, Owner, Points
from tests.contract.engine.test_graphs import SHAPE, STEPS

ROUNDS = Registry([LINES, MAP, AGGREGATE, ARROW_FILES, KEYED])

EVERY_MINUTE = Schedule("* * * * *", missed=Missed.ONCE)


class Quick(Clock):
    """A clock that goes a thousand times as fast as it should."""

    def now(self) -> datetime:
        quick = timedelta(seconds=1000 * self.steady())
        return datetime(2026, 3, 1, tzinfo=UTC) + quick


class Enough(Exception):
    """A test has seen what it waited for."""


class Rounds:
    """Ends a life when as many checkpoints hold an ended round, or breaks at a point before."""

    def __init__(self, owner: Owner, rounds: int, points: Points) -> None:
        self._owner = owner
        self._rounds = rounds
        self._points = points
        self._seen: set[str] = set()

    def __call__(self, name: str) -> None:
        stored = self._owner.stored
        position = stored.positions.get("rounds::source") if stored is not None else None
        if name == "owner.committed" and position is not None and position.ended:
            self._seen.add(position.position)
            if len(self._seen) == self._rounds:
                raise Crash("enough")
        self._points(name)


def owner_of(root: Path) -> Owner:
    """Return the owner of a pipeline that reads two files each minute, and sums their rows."""
    (root / "in").mkdir(parents=True)
    (root / "in" / "a.txt").write_text("1\n2\n")
    (root / "in" / "b.txt").write_text("3\n")
    spec = PipelineSpec(
        source=Source("lines", str(root / "in"), batch_size=2, schedule=EVERY_MINUTE),
        transforms=(
            Transform("ids", "map", options=SHAPE),
            Transform("total", "aggregate", options='{"aggregates": {"id": "sum(id)"}}'),
        ),
        sinks={
            "rows": Sink("arrow-files", str(root / "out"), input="ids"),
            "sums": Sink("keyed", str(root / "sums.db"), input="total"),
        },
        options=PipelineOptions(checkpoint_rows=1),
    )
    return Owner(ROUNDS, canonical(spec), root / "objects", clock=Quick())


async def lives(owner: Owner, probe: Callable[[str], None]) -> str:
    """Return what ended a life."""
    with pytest.raises((Crash, Broken)) as caught:
        await owner.live(probe)
    return str(caught.value)


async def test_each_round_brings_every_row_and_its_own_sum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken at each of the first points, then let go on."""
    monkeypatch.setattr(reader, "CLOCK_EVERY_S", 0.005)
    for at in range(20, 60, 6):
        root = tmp_path / str(at)
        owner = owner_of(root)
        await lives(owner, Rounds(owner, 2, Points(at)))
        await lives(owner, Rounds(owner, 2, Points()))
        rows, sums = Counter(ids_of_files(root / "out")), ids_of_keyed(root / "sums.db")
        assert len(set(rows.values())) == 1, rows
        assert set(rows) == {1, 2, 3}
        assert set(sums) == {6}
        assert len(sums) in {rows[1], rows[1] - 1}, "the last sum may not be decided yet"
        assert owner.stored is not None
        assert owner.stored.positions["a.txt"].records == 2 * rows[1]


async def test_a_source_that_never_ends_has_no_rounds(tmp_path: Path) -> None:
    """Its first round would be its last."""
    spec = PipelineSpec(
        source=Source("lines", str(tmp_path), schedule=EVERY_MINUTE, options=json.dumps({})),
        sink=Sink("arrow-files", str(tmp_path / "out")),
    )
    owner = Owner(STEPS, canonical(spec), tmp_path / "objects")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.contract.connect.examples.lines.Lines.bounded", False)
        assert "never ends" in await lives(owner, Points())
