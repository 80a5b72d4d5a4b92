"""Steps that remember keys, in a graph that breaks at every point: nothing is lost, nothing twice.

rows (ids again and again) -> once -> wide -> joined -+-> table (transactional)
names -----------------------> known -----^
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataflow.connect import Registry
from dataflow.core.spec import PipelineOptions, PipelineSpec, Sink, Source, Transform, canonical
from dataflow.transforms.deduplicate_spec import SPEC as DEDUPLICATE
from dataflow.transforms.join_spec import SPEC as JOIN
from dataflow.transforms.map_spec import SPEC as MAP
from tests.contract.connect.examples.lines import SPEC as LINES
from tests.contract.connect.examples.sqlite_table import SPEC as SQLITE_TABLE
from tests.contract.connect.places import ids_of_table
from tests.contract.engine.owner import Owner, Points
from tests.contract.engine.test_sinks import survives

STEPS = Registry([LINES, MAP, DEDUPLICATE, JOIN, SQLITE_TABLE])

FILES = {"rows/a": [1, 2, 1, 3, 2, 4], "rows/b": [4, 5, 1, 6, 6, 7], "names/n": [2, 4, 4, 7, 9]}
SHAPE = json.dumps({"compute": {"id": "CAST(CAST(line AS string) AS int)"}, "keep": ["id"]})
TIMED = json.dumps(
    {
        "compute": {
            "id": "CAST(CAST(line AS string) AS int)",
            "at": "CAST('2020-01-01T00:00:00' AS timestamp)",
        },
        "keep": ["id", "at"],
    }
)
KEYS = {"leftKeys": ["id"], "rightKeys": ["id"]}
STREAMS = {"within": "1h", "leftTime": "at", "rightTime": "at"}


def owner_of(root: Path, keep: str, join: dict[str, object], shape: str) -> Owner:
    """Return the owner of the graph above, with its files written; a checkpoint every few rows."""
    for name, ids in FILES.items():
        path = root / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{i}\n" for i in ids))
    once = json.dumps({"keys": ["id"], "keep": keep})
    spec = PipelineSpec(
        sources={
            name: Source("lines", str(root / name), batch_size=3) for name in ("rows", "names")
        },
        transforms=(
            Transform("wide", "map", ("rows",), shape),
            Transform("known", "map", ("names",), shape),
            Transform("once", "deduplicate", ("wide",), once),
            Transform("joined", "join", ("once", "known"), json.dumps({**KEYS, **join})),
            Transform("ids", "map", ("joined",), '{"keep": ["id"]}'),
        ),
        sinks={"table": Sink("sqlite-table", str(root / "out.db"), input="ids")},
        options=PipelineOptions(checkpoint_rows=5),
    )
    return Owner(STEPS, canonical(spec), root / "objects")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("keep", "join", "shape", "expected"),
    [
        ("first", {"type": "full"}, SHAPE, [1, 2, 3, 4, 4, 5, 6, 7, 9]),
        ("last", {"type": "anti"}, SHAPE, [1, 3, 5, 6]),
        ("first", {"type": "full", **STREAMS}, TIMED, [1, 2, 3, 4, 4, 5, 6, 7, 9]),
        ("last", {"type": "semi", **STREAMS}, TIMED, [2, 4, 7]),
    ],
    ids=["first, table", "last, table", "first, streams", "last, streams"],
)
async def test_broken_at_every_point_each_row_comes_as_often_as_if_nothing_had_happened(
    tmp_path: Path, keep: str, join: dict[str, object], *, shape: str, expected: list[int]
) -> None:
    """A state behind its position would let duplicates pass; one ahead of it would lose rows."""
    at, ended = 0, False
    while not ended:
        root = tmp_path / str(at)
        owner = owner_of(root, keep, join, shape)
        ended = await survives(owner, Points(at))
        if not ended:
            await owner.live(Points())
        assert sorted(ids_of_table(root / "out.db")) == expected
        assert owner.stored is not None
        assert all(ledger.balances for ledger in owner.stored.ledgers.values())
        at += 1
