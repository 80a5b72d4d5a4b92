"""A run in lanes, with each kind of sink: rows exactly once, wherever one of its tasks breaks.

lines -> map -> filter -> sink as for one task; the files are shared among lanes.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from dataflow.connect import (
    Checkpoint,
    Chunk,
    Context,
    Pinned,
    Position,
    SinkStep,
    Source,
    Split,
    SplitId,
    Task,
)
from dataflow.connect.testkit.places import Clock
from dataflow.core.checkpoint import Ledger
from dataflow.core.lanes import Lane
from dataflow.core.spec import OnError
from dataflow.engine.channel import Channel
from dataflow.engine.dead_letters import DeadLetters
from dataflow.engine.items import Item, SplitEnded, SplitsListed
from dataflow.engine.objects import Objects
from dataflow.engine.plan import validate
from dataflow.engine.reader import Reader
from dataflow.engine.rejects import Rejects
from dataflow.engine.splits import SplitNames
from dataflow.engine.steps import Input
from tests.contract.connect.examples.sqlite_table import SPEC as SQLITE_TABLE
from tests.contract.connect.examples.sqlite_table import SqliteTable, TableOptions
from tests.contract.connect.places import ids_of_table
from tests.contract.engine import test_sinks as sinks
from tests.contract.engine.owner import PIPELINE, Owner, Points
from tests.contract.engine.test_sinks import KINDS as ONE_TASK
from tests.contract.engine.test_sinks import Files, Kind, registry, survives


class Apart(SqliteTable):
    """A database a lane: SQLite lets one transaction write, and each lane keeps one open."""

    def __init__(self, path: Path, table: str, probe: Callable[[str], None]) -> None:
        path.mkdir(exist_ok=True)
        super().__init__(path / "0.db", table, probe)
        self._folder = path

    async def recover(self, task: Task, seed: Checkpoint) -> Checkpoint | None:
        if task.index:
            await self._call(partial(self._connect, f"{task.index}.db"))
        return await super().recover(task, seed)

    def _connect(self, name: str) -> None:
        self._db.close()
        self._db = sqlite3.connect(
            self._folder / name, isolation_level=None, check_same_thread=False
        )


def open_apart(step: SinkStep, options: TableOptions, context: Context) -> Apart:
    """Return the sink of a step."""
    return Apart(context.path(step.connection_string), options.table, context.probe)


def _ids_of_tables(folder: Path) -> Sequence[int]:
    return [i for path in folder.glob("*.db") for i in ids_of_table(path)]


APART = replace(SQLITE_TABLE, name="apart", open=f"{__name__}:open_apart", lanes=True)
KINDS = {
    **ONE_TASK,
    "transactional": Kind("apart", "out", _ids_of_tables, ONE_TASK["transactional"].points),
}

LANES = 2
FILES = Files(
    {f"part-{n}.txt": [*range(6 * n, 6 * n + 6)] for n in range(3)},
    {"part-0.txt": [4], "part-1.txt": [2, 5], "part-2.txt": [0]},
    Ledger(records_read=22, records_written=12, records_filtered=6, records_dead_lettered=4),
)


def owner_of(kind: Kind, root: Path) -> Owner:
    """Return the owner of a pipeline in lanes, over files of a few lines each."""
    owner = sinks.owner_of(kind, root, FILES)
    assert owner.spec.options is not None
    options = replace(owner.spec.options, parallelism=LANES)
    return replace(owner, registry=registry(APART), spec=replace(owner.spec, options=options))


async def check(kind: Kind, owner: Owner, root: Path) -> None:
    """Assert what must hold after a run that ended; the sums are those of all lanes."""
    await sinks.check(kind, owner, root, FILES)
    assert owner.stored is not None
    assert owner.stored.totals.records == FILES.ledger.records_read


@pytest.mark.parametrize("name", KINDS)
async def test_each_lane_reads_some_splits_and_the_run_accounts_for_all(
    name: str, tmp_path: Path
) -> None:
    """The tests below compare with it; and every lane has something to do."""
    read = [[f for f in FILES.ids if Lane(index, LANES).reads(f)] for index in range(LANES)]
    assert all(read)
    assert sorted(f for files in read for f in files) == sorted(FILES.ids)
    owner = owner_of(KINDS[name], tmp_path)
    await owner.live(Points())
    await check(KINDS[name], owner, tmp_path)
    assert owner.stored is not None
    assert [lane.totals.records for lane in owner.stored.lanes] == [
        sum(len(FILES.ids[f]) + len(FILES.bad[f]) for f in files) for files in read
    ]
    await owner.live(Points())
    await check(KINDS[name], owner, tmp_path)


@pytest.mark.parametrize("name", KINDS)
async def test_broken_at_every_point_the_next_run_delivers_every_row_once(
    name: str, tmp_path: Path
) -> None:
    """One lane may have decided what the other has not: each goes on from its own decision."""
    kind, at = KINDS[name], 0
    while True:
        root = tmp_path / str(at)
        owner = owner_of(kind, root)
        ended = await survives(owner, Points(at))
        if not ended:
            await owner.live(Points())
        await check(kind, owner, root)
        if ended:
            return
        at += 1


@pytest.mark.parametrize("name", KINDS)
async def test_broken_again_while_it_recovers_it_still_delivers_every_row_once(
    name: str, tmp_path: Path
) -> None:
    """The lanes' decisions may be apart in two lives, one after the other."""
    kind = KINDS[name]
    for first in range(1, 120, 11):
        for second in range(first % 5, 60, 13):
            root = tmp_path / f"{first}-{second}"
            owner = owner_of(kind, root)
            if await survives(owner, Points(first)):
                return
            if not await survives(owner, Points(second)):
                await owner.live(Points())
            await check(kind, owner, root)


@pytest.mark.parametrize("name", KINDS)
async def test_another_number_of_lanes_goes_on_where_the_last_ones_ended(
    name: str, tmp_path: Path
) -> None:
    """A split then belongs to another task, which has decided something else before."""
    kind = KINDS[name]
    owner = owner_of(kind, tmp_path)
    expected = list(FILES.kept)
    for lineage, lanes in enumerate([LANES, 1, 2, 3, 1], start=1):
        more = [*range(100 * lineage, 100 * lineage + 4)]
        for number in range(2):
            path = tmp_path / "in" / f"more-{lineage}-{number}.txt"
            path.write_text("".join(f"{i}\n" for i in more[2 * number : 2 * number + 2]))
        expected += [i for i in more if i % 3]
        owner.begin_lineage(lanes)
        await owner.live(Points())
        assert sorted(kind.visible(tmp_path / kind.target)) == expected
        assert owner.stored is not None
        assert owner.stored.totals.records == FILES.ledger.records_read + 4 * lineage


async def test_letters_that_are_gone_are_not_asked_for_by_as_many_lanes_as_once(
    tmp_path: Path,
) -> None:
    """Two lanes, one task, two lanes: the last two must not take up what the first two staged."""
    owner = owner_of(KINDS["transactional"], tmp_path)
    await owner.live(Points())
    (tmp_path / "in" / "last-9.txt").write_text("bad\n")
    await owner.live(Points())
    letters = DeadLetters(Objects.local(owner.root), PIPELINE)
    await letters.remove([letter.id for letter in await owner.dead_letters()])
    for lanes in (1, 2):
        owner.begin_lineage(lanes)
        await owner.live(Points())
    assert owner.stored is not None
    assert owner.stored.totals.records == FILES.ledger.records_read + 1


async def test_no_lane_reads_before_the_seeds_of_all_are_decided(tmp_path: Path) -> None:
    """Nobody had journalled that the lineage began: an update would read it from its beginning."""
    kind = KINDS["transactional"]
    for first in range(60):
        for second in range(first % 2, 40, 2):
            root = tmp_path / f"{first}-{second}"
            owner = owner_of(kind, root)
            await survives(owner, Points(first))
            if owner.stored is not None and owner.stored.seeded:
                return
            await survives(owner, Points(second))
            if owner.stored is not None and owner.stored.seeded:
                break
            assert not kind.visible(root / kind.target)


class Growing(Source[Position, Pinned]):
    """Lists one split, but not at first; it ends at once."""

    bounded = False
    asked = 0

    async def splits(self) -> Sequence[Split]:
        self.asked += 1
        return [Split(SplitId("late"))] if self.asked > 2 else []

    async def read(
        self, split: Split, start: Position | None
    ) -> AsyncGenerator[Chunk[Position], None]:
        return
        yield


async def test_a_lane_that_begins_without_a_split_reads_those_that_come() -> None:
    """A folder with fewer files than lanes, into which more files are put."""
    source = Input(
        name="source",
        splits=SplitNames("source", ()),
        source=Growing(),
        position=Position,
        pinned=Pinned,
        rejects=Rejects("source", OnError.FAIL),
        poll_interval_s=0.001,
    )
    channel: Channel[Item] = Channel()
    reader = Reader(source, Checkpoint(), channel, Clock())
    async with asyncio.timeout(30), asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(reader.read(lambda: None))
        heard = [await channel.get() for _ in range(3)]
        reading.cancel()
    assert heard == [
        SplitsListed("source", (), idles=True),
        SplitsListed("source", (SplitId("late"),), idles=True),
        SplitEnded("source", SplitId("late")),
    ]


def test_what_one_task_alone_can_do_is_refused_by_its_name(tmp_path: Path) -> None:
    """A second lane would not know what the first remembers."""
    spec = owner_of(KINDS["staging"], tmp_path).spec
    file = replace(spec.sinks["sink"], sink_type="file", options='{"format": "csv"}')
    spec = replace(spec, sinks={"sink": file})
    found = [(p.field, p.message) for p in validate(registry(), spec).problems]
    assert found == [
        ("options.parallelism", "sink (file) cannot be shared among tasks; set it to 1")
    ]
