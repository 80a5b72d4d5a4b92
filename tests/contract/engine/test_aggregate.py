"""``aggregate`` under the engine: every window once, and every late row, wherever a run breaks."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataflow.connect import Registry
from dataflow.core.checkpoint import Ledger
from dataflow.core.spec import PipelineOptions, PipelineSpec, Sink, Source, Transform, canonical
from dataflow.transforms.aggregate.spec import SPEC as AGGREGATE
from dataflow.transforms.map_spec import SPEC as MAP
from tests.contract.connect.examples.arrow_files import SPEC as ARROW_FILES
from tests.contract.connect.examples.lines import SPEC as LINES
from tests.contract.connect.places import ids_of_files
from tests.contract.engine.owner import Owner, Points
from tests.contract.engine.test_sinks import survives

STEPS = Registry([LINES, MAP, AGGREGATE, ARROW_FILES])

ROWS = [*range(1, 16), 3, 16, 4]
"""Seconds; those behind are late by then."""
LATE = [3, 4]
WINDOWS = [1 + 2 + 3 + 4, 35, 60, 15 + 16]

SHAPE = {
    "compute": {"id": "CAST(CAST(line AS string) AS int)", "t": "from_epoch_ms(id * 1000)"},
    "keep": ["id", "t"],
}
BY_WINDOW = {
    "aggregates": {"id": "sum(id)", "d": "approx_distinct(id)"},
    "window": {"type": "tumbling", "size": "5s", "timeColumn": "t"},
}


def owner_of(root: Path) -> Owner:
    """Return the owner of a pipeline that adds up by windows; a checkpoint every seven records."""
    (root / "in").mkdir(parents=True)
    (root / "in" / "a.txt").write_text("".join(f"{row}\n" for row in ROWS))
    spec = PipelineSpec(
        sources={"in": Source("lines", str(root / "in"), batch_size=4)},
        transforms=(
            Transform("ids", "map", ("in",), json.dumps(SHAPE)),
            Transform("by_window", "aggregate", ("ids",), json.dumps(BY_WINDOW)),
        ),
        sinks={
            "sums": Sink("arrow-files", str(root / "sums"), input="by_window"),
            "late": Sink("arrow-files", str(root / "late"), input="by_window.late"),
        },
        options=PipelineOptions(checkpoint_rows=7),
    )
    return Owner(STEPS, canonical(spec), root / "objects")


def check(owner: Owner, root: Path) -> None:
    """Assert what must hold after a run that ended."""
    assert ids_of_files(root / "sums") == WINDOWS
    assert ids_of_files(root / "late") == LATE
    assert owner.stored is not None
    taken = len(ROWS) - len(LATE)
    assert owner.stored.ledgers["sums"] == Ledger(
        records_read=len(ROWS),
        records_produced=len(WINDOWS),
        records_written=len(WINDOWS),
        records_absorbed=taken,
        records_filtered=len(LATE),
    )
    assert all(ledger.balances for ledger in owner.stored.ledgers.values())


@pytest.mark.slow
async def test_broken_at_every_point_every_window_comes_out_once(tmp_path: Path) -> None:
    """What has closed, what is open and where the source stands are decided at once."""
    at, ended = 0, False
    while not ended:
        root = tmp_path / str(at)
        owner = owner_of(root)
        ended = await survives(owner, Points(at))
        if not ended:
            await owner.live(Points())
        check(owner, root)
        at += 1
    assert at > len(ROWS)
