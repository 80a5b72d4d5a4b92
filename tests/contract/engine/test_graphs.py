"""Graphs of several sources and sinks: every row exactly once in each, wherever a run breaks.

orders -+-> both -> parity -odd--> odd (staging)
more ---+              +----even-> known -> even (transactional)
table ----------------------------^ (read first)
both -> total -> sum (idempotent)
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dataflow.connect import Registry
from dataflow.core.checkpoint import Ledger
from dataflow.core.errors import Code, Invalid
from dataflow.core.spec import PipelineOptions, PipelineSpec, Sink, Source, Transform, canonical
from dataflow.engine import task
from dataflow.engine.plan import plan
from dataflow.transforms.filter_spec import SPEC as FILTER
from dataflow.transforms.map_spec import SPEC as MAP
from tests.contract.connect.examples.arrow_files import SPEC as ARROW_FILES
from tests.contract.connect.examples.keyed import SPEC as KEYED
from tests.contract.connect.examples.lines import SPEC as LINES
from tests.contract.connect.examples.lines import Lines
from tests.contract.connect.examples.sqlite_table import SPEC as SQLITE_TABLE
from tests.contract.connect.places import ids_of_files, ids_of_keyed, ids_of_table
from tests.contract.engine.graph_steps import KNOWN, PARITY, SUM, WAKING
from tests.contract.engine.owner import Broken, Crash, Owner, Points
from tests.contract.engine.test_sinks import survives

STEPS = Registry([LINES, MAP, FILTER, PARITY, SUM, KNOWN, WAKING, ARROW_FILES, SQLITE_TABLE, KEYED])

FILES = {"orders/a": [*range(1, 6)], "orders/b": [8, 9], "more/c": [*range(20, 23)]}
TABLE = [2, 4, 22, 99]
ROWS = sorted(row for rows in FILES.values() for row in rows)
ODD = [row for row in ROWS if row % 2]
EVEN = [2, 4, 22]
SHAPE = json.dumps({"compute": {"id": "CAST(CAST(line AS string) AS int)"}, "keep": ["id"]})


def spec_of(root: Path) -> PipelineSpec:
    """Return the graph above; a checkpoint every six records."""
    lines = {name: Source("lines", str(root / name), batch_size=2) for name in ("orders", "more")}
    return canonical(
        PipelineSpec(
            sources={**lines, "table": Source("lines", str(root / "table"), batch_size=2)},
            transforms=(
                Transform("total", "sum", ("both",)),
                Transform("both", "map", ("orders", "more"), SHAPE),
                Transform("parity", "parity", ("both",)),
                Transform("ids", "map", ("table",), SHAPE),
                Transform("known", "known", ("parity.even", "ids")),
            ),
            sinks={
                "odd": Sink("arrow-files", str(root / "odd"), input="parity.odd"),
                "even": Sink("sqlite-table", str(root / "even.db"), input="known"),
                "sum": Sink("keyed", str(root / "sum.db"), input="total"),
            },
            options=PipelineOptions(checkpoint_rows=6),
        )
    )


def owner_of(root: Path) -> Owner:
    """Return the owner of the graph above, with its files written."""
    for name, ids in {**FILES, "table/t": TABLE}.items():
        path = root / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"{i}\n" for i in ids))
    return Owner(STEPS, spec_of(root), root / "objects")


def check(owner: Owner, root: Path) -> None:
    """Assert what must hold after a run that ended."""
    assert sorted(ids_of_files(root / "odd")) == ODD
    assert sorted(ids_of_table(root / "even.db")) == EVEN
    assert ids_of_keyed(root / "sum.db") == [sum(ROWS)]
    assert owner.stored is not None
    evens = len(ROWS) - len(ODD)
    assert owner.stored.ledgers == {
        "odd": Ledger(records_read=len(ROWS), records_written=len(ODD), records_filtered=evens),
        "even": Ledger(
            records_read=len(ROWS) + len(TABLE),
            records_written=len(EVEN),
            records_filtered=len(ODD) + evens - len(EVEN),
            records_absorbed=len(TABLE),
        ),
        "sum": Ledger(
            records_read=len(ROWS),
            records_produced=1,
            records_written=1,
            records_absorbed=len(ROWS),
        ),
    }
    assert all(ledger.balances for ledger in owner.stored.ledgers.values())
    assert owner.stored.totals.records == len(ROWS) + len(TABLE)


async def test_a_graph_brings_every_row_where_it_belongs(tmp_path: Path) -> None:
    """And started again it has nothing left to do."""
    owner = owner_of(tmp_path)
    for _ in range(2):
        await owner.live(Points())
        check(owner, tmp_path)
    assert owner.stored is not None
    assert set(owner.stored.positions) == {
        "orders::a.txt",
        "orders::b.txt",
        "more::c.txt",
        "table::t.txt",
    }


async def test_broken_at_every_point_every_sink_of_a_graph_has_every_row_once(
    tmp_path: Path,
) -> None:
    """One decision covers all positions, states and outputs, or some sink would be ahead."""
    at, ended = 0, False
    while not ended:
        root = tmp_path / str(at)
        owner = owner_of(root)
        ended = await survives(owner, Points(at))
        if not ended:
            await owner.live(Points())
        check(owner, root)
        at += 1


async def test_rows_that_go_two_ways_to_one_sink_are_produced_once(tmp_path: Path) -> None:
    """A ledger that did not know of the second way would not balance."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("1\n2\n3\n")
    spec = PipelineSpec(
        source=Source("lines", str(tmp_path / "in")),
        transforms=(
            Transform("ids", "map", options=SHAPE),
            Transform("big", "filter", ("ids",), '{"expression": "id > 1"}'),
            Transform("again", "map", ("ids", "big"), '{"compute": {"id": "id + 1"}}'),
        ),
        sink=Sink("arrow-files", str(tmp_path / "out")),
    )
    owner = Owner(STEPS, canonical(spec), tmp_path / "objects")
    await owner.live(Points())
    assert sorted(ids_of_files(tmp_path / "out")) == [2, 3, 3, 4, 4]
    assert owner.stored is not None
    ledger = Ledger(records_read=3, records_produced=3, records_written=5, records_filtered=1)
    assert owner.stored.ledgers["sink"] == ledger


async def test_rows_that_time_brings_are_something_to_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No record is read then, and nobody would close a checkpoint for them otherwise."""
    monkeypatch.setattr(task, "TICK_EVERY_S", 0.02)
    monkeypatch.setattr(Lines, "bounded", False)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("1\n")
    spec = PipelineSpec(
        source=Source("lines", str(tmp_path / "in")),
        transforms=(Transform("later", "waking"),),
        sink=Sink("arrow-files", str(tmp_path / "out")),
    )
    owner = Owner(STEPS, canonical(spec), tmp_path / "objects")
    written = 0

    def enough(name: str) -> None:
        nonlocal written
        written += name == "task.written"
        if written > 5:
            raise Crash("enough")

    with pytest.raises(Broken):
        await owner.live(enough)
    assert [told.positions_moved for told in owner.told if told.positions_moved] != []


async def test_a_state_beyond_its_limit_fails_the_run(tmp_path: Path) -> None:
    """Memory is bounded by what its user has said; nothing is lost, for nothing was decided."""
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.txt").write_text("70000\n")
    steps = (
        Transform("ids", "map", options=SHAPE),
        Transform("total", "sum", options='{"stateBytesMax": 65536}'),
    )
    spec = PipelineSpec(
        source=Source("lines", str(tmp_path / "in")),
        transforms=steps,
        sink=Sink("arrow-files", str(tmp_path / "out")),
    )
    with pytest.raises(Broken, match="raise stateBytesMax") as caught:
        await Owner(STEPS, canonical(spec), tmp_path / "objects").live(Points())
    assert (caught.value.error.step, caught.value.error.code) == ("total", Code.TOO_LARGE)


async def test_a_state_made_by_other_options_is_refused(tmp_path: Path) -> None:
    """Sums of one key would go on as sums of another."""
    owner = owner_of(tmp_path)
    await owner.live(Points())
    total, *others = owner.spec.transforms
    moved = Transform(total.id, total.transform_type, ("ids",), total.options)
    owner.spec = canonical(
        PipelineSpec(
            sources=owner.spec.sources, transforms=(moved, *others), sinks=owner.spec.sinks
        )
    )
    with pytest.raises(Broken) as caught:
        await owner.live(Points())
    assert (caught.value.error.step, caught.value.error.code) == ("total", Code.STATE_CHANGED)


def problems(spec: PipelineSpec) -> dict[str, str]:
    """Return what is wrong with a spec, by its field."""
    with pytest.raises(Invalid) as caught:
        plan(STEPS, canonical(spec))
    return {problem.field: problem.message for problem in caught.value.problems}


def test_two_sinks_that_decide_are_refused(tmp_path: Path) -> None:
    """Each would be the one place where a checkpoint is decided."""
    spec = PipelineSpec(
        source=Source("lines", str(tmp_path)),
        sinks={name: Sink("sqlite-table", str(tmp_path / name)) for name in ("a", "b")},
    )
    assert problems(spec) == {
        "sinks": "a and b each commit by a transaction of their own; use one a pipeline"
    }


def test_an_output_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    """A step without a main output has to be read by name."""
    source, parity = Source("lines", str(tmp_path)), Transform("p", "parity")
    for name in ("p", "p.both"):
        spec = PipelineSpec(
            source=source,
            transforms=(parity,),
            sinks={"out": Sink("arrow-files", str(tmp_path / "o"), input=name)},
        )
        assert problems(spec)["sinks.out.input"].endswith("one of p.odd, p.even")


def test_a_step_says_how_many_inputs_it_reads(tmp_path: Path) -> None:
    """A join of one input is a mistake of its user."""
    spec = PipelineSpec(
        source=Source("lines", str(tmp_path)),
        transforms=(Transform("k", "known"),),
        sink=Sink("arrow-files", str(tmp_path / "o")),
    )
    assert problems(spec) == {"transforms[0].inputs": "a known reads 2 inputs, not 1"}


async def test_a_table_and_its_rows_may_not_come_from_one_source(tmp_path: Path) -> None:
    """Its rows would be read before its table ends."""
    (tmp_path / "in").mkdir()
    spec = PipelineSpec(
        source=Source("lines", str(tmp_path / "in")),
        transforms=(
            Transform("ids", "map", options=SHAPE),
            Transform("k", "known", ("source", "ids")),
        ),
        sink=Sink("arrow-files", str(tmp_path / "o")),
    )
    with pytest.raises(Broken, match="read it by two sources"):
        await Owner(STEPS, canonical(spec), tmp_path / "objects").live(Points())
