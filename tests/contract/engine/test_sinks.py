"""The engine with each kind of sink: rows exactly once, wherever a run breaks.

lines -> map -> filter -> sink, by messages alone. Every point that a probe names is broken at,
in the worker, in the sink and in the owner, and again in the run that recovers.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import Field

from dataflow.connect import (
    Chunk,
    Context,
    Options,
    Pinned,
    Position,
    Registry,
    SinkSpec,
    Source,
    SourceSpec,
    SourceStep,
    Split,
    SplitId,
    Waiting,
)
from dataflow.connectors.file.sink_spec import SPEC as FILE
from dataflow.core.checkpoint import Ledger
from dataflow.core.spec import PipelineOptions, PipelineSpec, Sink, Transform, canonical
from dataflow.core.spec import Source as SourceOf
from dataflow.transforms.filter_spec import SPEC as FILTER
from dataflow.transforms.map_spec import SPEC as MAP
from tests.contract.connect.examples.arrow_files import SPEC as ARROW_FILES
from tests.contract.connect.examples.arrow_files import STAGING
from tests.contract.connect.examples.keyed import SPEC as KEYED
from tests.contract.connect.examples.lines import SPEC as LINES
from tests.contract.connect.examples.sqlite_table import SPEC as SQLITE_TABLE
from tests.contract.connect.places import ids_of_files, ids_of_keyed, ids_of_table
from tests.contract.engine.owner import Broken, Crash, Owner, Points


@dataclass(frozen=True)
class Files:
    """What is in a folder, and what becomes of it."""

    ids: Mapping[str, Sequence[int]]
    bad: Mapping[str, Sequence[int]]
    """Lines that are no numbers, by their place among the others."""
    ledger: Ledger

    @property
    def kept(self) -> Sequence[int]:
        """The ids that pass the filter."""
        return sorted(i for ids in self.ids.values() for i in ids if i % 3)


FILES = Files(
    {"a.txt": [*range(9)], "b.txt": [*range(9, 14)]},
    {"a.txt": [4], "b.txt": [2, 5]},
    Ledger(records_read=17, records_written=9, records_filtered=5, records_dead_lettered=3),
)


@dataclass(frozen=True)
class Kind:
    """A kind of sink: where it writes, and what readers see there."""

    sink: str
    target: str
    visible: Callable[[Path], Sequence[int]]
    points: frozenset[str]
    """Where a run of it can break, beside the engine's own points."""


OWNER = {"owner.claimed", "owner.prepared", "owner.decided", "owner.committed"}
TASK = {"task.opened", "task.written", "task.staged", "task.published", "task.committed"}
STAGED = {"output.recommitted", "output.opened", "output.discarded"}
KINDS: Mapping[str, Kind] = {
    "staging": Kind(
        "arrow-files",
        "out",
        ids_of_files,
        frozenset({*STAGED, "arrow-files.written", "arrow-files.renamed"}),
    ),
    "transactional": Kind(
        "sqlite-table",
        "out.db",
        ids_of_table,
        frozenset(
            {f"sqlite-table.{name}" for name in ("claimed", "written", "decided", "committed")}
        ),
    ),
    "idempotent": Kind(
        "keyed", "out.db", ids_of_keyed, frozenset({"keyed.put", "keyed.committed"})
    ),
}


def registry(*more: SourceSpec[Any] | SinkSpec[Any]) -> Registry:
    """Return the steps there are."""
    return Registry([LINES, FILTER, MAP, ARROW_FILES, SQLITE_TABLE, KEYED, FILE, *more])


def pipeline(kind: Kind, source: SourceOf, target: Path, *transforms: Transform) -> PipelineSpec:
    """Return a spec that closes a checkpoint every five records."""
    sink = Sink(kind.sink, str(target), batch_size=2)
    options = PipelineOptions(checkpoint_rows=5, batch_timeout=timedelta(seconds=10))
    return canonical(PipelineSpec(source=source, transforms=transforms, sink=sink, options=options))


def owner_of(kind: Kind, root: Path, files: Files = FILES) -> Owner:
    """Return the owner of a pipeline over files of a few lines each."""
    folder = root / "in"
    folder.mkdir(parents=True)
    for name, ids in files.ids.items():
        lines = [f"{i}\n" for i in ids]
        for at in files.bad[name]:
            lines.insert(at, "bad\n")
        (folder / name).write_text("".join(lines))
    shape = {
        "compute": {"id": "CAST(CAST(line AS string) AS int)"},
        "keep": ["id"],
        "onError": "dead-letter",
    }
    spec = pipeline(
        kind,
        SourceOf("lines", str(folder), batch_size=1),
        root / kind.target,
        Transform("shape", "map", options=json.dumps(shape)),
        Transform("some", "filter", options='{"expression": "id % 3 <> 0"}'),
    )
    return Owner(registry(), spec, root / "objects")


async def check(kind: Kind, owner: Owner, root: Path, files: Files = FILES) -> None:
    """Assert what must hold after a run that ended: every row once, every record accounted for."""
    assert sorted(kind.visible(root / kind.target)) == files.kept
    assert owner.stored is not None
    assert owner.stored.ledgers["sink"] == files.ledger
    ended = [name for name, position in owner.stored.positions.items() if position.ended]
    assert sorted(ended) == sorted(files.ids)
    letters = await owner.dead_letters()
    found = sorted((letter.split, letter.ordinal) for letter in letters)
    assert found == [(name, at) for name in sorted(files.bad) for at in files.bad[name]]
    assert list((root / kind.target / STAGING).glob("*")) == []
    assert list(await owner.litter()) == []


async def survives(owner: Owner, points: Points) -> bool:
    """Tell whether a run got to its end; what ends it otherwise is the break that was asked for."""
    told = ""
    try:
        await owner.live(points)
    except (Broken, Crash) as error:
        told = str(error)
    assert bool(told) == bool(points.reached)
    assert points.reached in told, "it broke by itself"
    return not told


@pytest.mark.parametrize("name", KINDS)
async def test_an_undisturbed_run_delivers_every_row_and_accounts_for_every_record(
    name: str, tmp_path: Path
) -> None:
    """The tests below compare with it; and every point they break at is one it passes."""
    kind, points = KINDS[name], Points()
    owner = owner_of(kind, tmp_path)
    await owner.live(points)
    await check(kind, owner, tmp_path)
    assert set(points.names) >= OWNER | TASK | kind.points
    assert points.names.count("owner.decided") >= 3


@pytest.mark.parametrize("name", KINDS)
async def test_a_finished_pipeline_that_starts_again_has_nothing_left_to_do(
    name: str, tmp_path: Path
) -> None:
    """Completed is not forgotten: going on reads what is new, and here nothing is."""
    kind = KINDS[name]
    owner = owner_of(kind, tmp_path)
    for _ in range(3):
        await owner.live(Points())
        await check(kind, owner, tmp_path)


@pytest.mark.parametrize("name", KINDS)
async def test_broken_at_every_point_the_next_run_delivers_every_row_once(
    name: str, tmp_path: Path
) -> None:
    """Each point stands between two effects that must not swap, or must be repeated safely."""
    kind, at, died = KINDS[name], 0, set[str]()
    while True:
        root = tmp_path / str(at)
        owner, points = owner_of(kind, root), Points(at)
        ended = await survives(owner, points)
        if ended:
            await check(kind, owner, root)
            break
        died.add(points.reached)
        await owner.live(Points())
        await check(kind, owner, root)
        at += 1
    assert died >= OWNER | TASK | kind.points


@pytest.mark.parametrize("name", KINDS)
async def test_broken_again_while_it_recovers_it_still_delivers_every_row_once(
    name: str, tmp_path: Path
) -> None:
    """A recovery that is right only when it is let finish is no recovery."""
    kind = KINDS[name]
    for first in range(2, 50, 6):
        second = first % 5
        while True:
            root = tmp_path / f"{first}-{second}"
            owner = owner_of(kind, root)
            if await survives(owner, Points(first)):
                return
            ended = await survives(owner, Points(second))
            if not ended:
                await owner.live(Points())
            await check(kind, owner, root)
            if ended:
                break
            second += 5


class Fixed(Pinned):
    """What the source below found when it was opened for the first time."""

    base: int


class Row(Position):
    """The next row."""

    row: int = Field(ge=0)


class Drifting(Source[Row, Fixed]):
    """Would infer something else each time: what is pinned decides what its rows are."""

    opened = 0

    async def open(self, pinned: Fixed | None) -> Fixed | None:
        type(self).opened += 1
        self._base = pinned.base if pinned else type(self).opened
        return Fixed(base=self._base)

    async def splits(self) -> Sequence[Split]:
        return [Split(SplitId("rows"))]

    async def read(self, split: Split, start: Row | None) -> AsyncGenerator[Chunk[Row], None]:
        for row in range(start.row if start else 0, 12, 3):
            ids = pa.array(range(row, row + 3), pa.int64())
            base = pa.array([self._base] * 3)
            yield Chunk(pa.record_batch({"id": ids, "base": base}), Row(row=row + 3))


def open_drifting(_: SourceStep, __: Options, ___: Context) -> Drifting:
    """Return the source of a step."""
    return Drifting()


DRIFTING = SourceSpec(
    name="drifting",
    summary="Rows that depend on what is pinned.",
    options=Options,
    open=f"{__name__}:open_drifting",
    position=Row,
    pinned=Fixed,
)


@pytest.mark.parametrize("name", KINDS)
async def test_what_a_source_has_pinned_is_what_every_later_run_reads_by(
    name: str, tmp_path: Path
) -> None:
    """Also where the sink alone knows that the lineage has begun: it is asked first."""
    kind, at = KINDS[name], 0
    while True:
        root = tmp_path / str(at)
        root.mkdir()
        spec = pipeline(kind, SourceOf("drifting"), root / kind.target)
        owner = Owner(registry(DRIFTING), spec, root / "objects")
        if await survives(owner, Points(at)):
            break
        await owner.live(Points())
        assert owner.stored is not None
        pinned = Fixed.model_validate_json(owner.stored.pinned["source"])
        assert sorted(kind.visible(root / kind.target)) == [*range(12)]
        assert bases_in(kind, root / kind.target) == {pinned.base}
        at += 1
    assert at > 10


class Intruding(Drifting):
    """Has a column by the name of the engine's own."""

    async def read(self, split: Split, start: Row | None) -> AsyncGenerator[Chunk[Row], None]:
        yield Chunk(pa.record_batch({"__ordinal": pa.array([5])}), Row(row=1))


def open_intruding(_: SourceStep, __: Options, ___: Context) -> Intruding:
    """Return the source of a step."""
    return Intruding()


async def test_a_source_with_a_column_of_the_engines_own_name_is_refused(tmp_path: Path) -> None:
    """Two columns of one name would give records the names of others."""
    kind = KINDS["staging"]
    intruding = replace(DRIFTING, name="intruding", open=f"{__name__}:open_intruding")
    spec = pipeline(kind, SourceOf("intruding"), tmp_path / kind.target)
    with pytest.raises(Broken, match="'__ordinal'"):
        await Owner(registry(intruding), spec, tmp_path / "objects").live(Points())


class Pausing(Drifting):
    """Has to wait between two chunks, once."""

    waited = False

    async def read(self, split: Split, start: Row | None) -> AsyncGenerator[Chunk[Row], None]:
        async with aclosing(super().read(split, start)) as chunks:
            async for chunk in chunks:
                yield chunk
                if not self.waited:
                    self.waited = True
                    raise Waiting("the other half is not there yet")


def open_pausing(_: SourceStep, __: Options, ___: Context) -> Pausing:
    """Return the source of a step."""
    return Pausing()


async def test_a_source_that_waits_between_chunks_is_asked_for_the_next(tmp_path: Path) -> None:
    """Waiting is no failure: the run goes on behind what it has, under the same number."""
    kind = KINDS["staging"]
    pausing = replace(DRIFTING, name="pausing", open=f"{__name__}:open_pausing")
    source = SourceOf("pausing", poll_interval_ms=1)
    spec = pipeline(kind, source, tmp_path / kind.target)
    owner = Owner(registry(pausing), spec, tmp_path / "objects")
    await owner.live(Points())
    assert sorted(kind.visible(tmp_path / kind.target)) == [*range(12)]
    assert owner.stored is not None
    assert owner.stored.stamp.run == 1


def bases_in(kind: Kind, target: Path) -> set[int]:
    """Return what the rows that readers see were read by."""
    import sqlite3  # noqa: PLC0415 - this check's own
    from contextlib import closing  # noqa: PLC0415 - this check's own

    if kind.sink == "arrow-files":
        tables = [pa.ipc.open_file(p.read_bytes()).read_all() for p in target.glob("*.arrow")]
        return {int(base) for t in tables for base in t.column("base").to_pylist() if base}
    with closing(sqlite3.connect(target)) as db:
        if kind.sink == "sqlite-table":
            return {base for (base,) in db.execute("SELECT base FROM rows")}
        return {json.loads(row)["base"] for (row,) in db.execute("SELECT row FROM keyed")}
