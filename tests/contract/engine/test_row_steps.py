"""Steps without a memory in a graph: every item of every record once in its sink.

lines -> texts -> items (flatMap) -> checked (validate) -> by (route) -odd--> odd
                                                                      +-rest-> named -> even
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dataflow.connect import Registry
from dataflow.core.checkpoint import Ledger
from dataflow.core.spec import PipelineOptions, PipelineSpec, Sink, Source, Transform, canonical
from dataflow.transforms.flat_map_spec import SPEC as FLAT_MAP
from dataflow.transforms.map_spec import SPEC as MAP
from dataflow.transforms.route_spec import SPEC as ROUTE
from dataflow.transforms.sql_spec import SPEC as SQL
from dataflow.transforms.validate_spec import SPEC as VALIDATE
from tests.contract.connect.examples.arrow_files import SPEC as ARROW_FILES
from tests.contract.connect.examples.lines import SPEC as LINES
from tests.contract.connect.places import ids_of_files
from tests.contract.engine.owner import Owner, Points
from tests.contract.engine.test_sinks import survives

STEPS = Registry([LINES, MAP, FLAT_MAP, VALIDATE, ROUTE, SQL, ARROW_FILES])

RECORDS = ["1,2,3", "4", "", "x,5", "6,-7,8"]
ODD, EVEN, BAD = [1, 3, 5], [2, 4, 6, 8], ["x", "-7"]


def step(name: str, kind: str, read: str, **options: Any) -> Transform:  # noqa: ANN401 - any options
    """Return a step of the graph."""
    return Transform(name, kind, (read,), json.dumps(options))


ROUTES = [{"name": "odd", "when": "id % 2 = 1"}]
TEXTS = {"compute": {"id": "CAST(line AS string)"}, "keep": ["id"]}
CHECKED = {"columns": {"id": {"type": "int64", "min": 0}}, "onError": "dead-letter"}


def owner_of(root: Path, last: Transform) -> Owner:
    """Return the owner of the graph above, whose other rows go through one more step."""
    (root / "in").mkdir(parents=True)
    (root / "in" / "a.txt").write_text("\n".join(RECORDS) + "\n")
    spec = PipelineSpec(
        sources={"lines": Source("lines", str(root / "in"), batch_size=2)},
        transforms=(
            step("texts", "map", "lines", **TEXTS),
            step("items", "flatMap", "texts", column="id", delimiter=","),
            step("checked", "validate", "items", **CHECKED),
            step("by", "route", "checked", routes=ROUTES, default="rest"),
            last,
        ),
        sinks={
            "odd": Sink("arrow-files", str(root / "odd"), input="by.odd"),
            "even": Sink("arrow-files", str(root / "even"), input=last.id),
        },
        options=PipelineOptions(checkpoint_rows=2),
    )
    return Owner(STEPS, canonical(spec), root / "objects")


async def check(owner: Owner, root: Path) -> None:
    """Assert what must hold after a run that ended."""
    assert sorted(ids_of_files(root / "odd")) == ODD
    assert sorted(ids_of_files(root / "even")) == EVEN
    assert sorted(
        json.loads(letter.record)["id"] for letter in await owner.dead_letters()
    ) == sorted(BAD)
    assert owner.stored is not None
    ledgers = owner.stored.ledgers
    assert all(ledger.balances for ledger in ledgers.values())
    items = len(ODD) + len(EVEN) + len(BAD)
    assert ledgers["odd"] == Ledger(
        records_read=len(RECORDS),
        records_produced=items - (len(RECORDS) - 1),
        records_written=len(ODD),
        records_filtered=1 + len(EVEN),
        records_dead_lettered=len(BAD),
    )


async def test_broken_at_every_point_every_item_is_in_its_sink_once(tmp_path: Path) -> None:
    """Rows that are produced, refused, and parted, all of one record in one checkpoint."""
    at, ended = 0, False
    while not ended:
        root = tmp_path / str(at)
        owner = owner_of(root, step("named", "map", "by.rest", rename={"id": "id"}))
        ended = await survives(owner, Points(at))
        if not ended:
            await owner.live(Points())
        await check(owner, root)
        at += 1


async def test_a_select_is_a_step_like_the_others(tmp_path: Path) -> None:
    """Its rows are new, and are numbered by the engine."""
    select = "SELECT id FROM input ORDER BY id"
    owner = owner_of(tmp_path, step("named", "sql", "by.rest", select=select))
    await owner.live(Points())
    await check(owner, tmp_path)
