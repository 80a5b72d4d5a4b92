"""Dead letters that are replayed: each once where it fell out, wherever a run breaks.

numbers (some are no number) -> careful (refuses 7) -+-> all
                                                     +-> fifths (refuses them)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pydantic import Field

from dataflow.connect import (
    Chunk,
    Context,
    Operator,
    Options,
    Output,
    Pinned,
    Position,
    Registry,
    Source,
    SourceSpec,
    SourceStep,
    Split,
    SplitId,
    TransformSpec,
    TransformStep,
    Via,
)
from dataflow.connect.source import REJECTED_COLUMNS
from dataflow.connect.transform import ERROR, MAIN
from dataflow.core.checkpoint import Ledger
from dataflow.core.errors import Rejected
from dataflow.core.graph import graph
from dataflow.core.spec import OnError, PipelineOptions, PipelineSpec, Sink, Transform, canonical
from dataflow.core.spec import Source as SourceOf
from dataflow.engine.dead_letters import DeadLetters
from dataflow.engine.mending import causes, purge
from dataflow.engine.mending import replay as ask_replay
from dataflow.engine.objects import Objects
from dataflow.engine.records import Patch, Replay, ReplayLetters, Setting, Wanted
from dataflow.engine.replays import Replays
from tests.contract.connect.examples.arrow_files import SPEC as ARROW_FILES
from tests.contract.connect.places import ids_of_files, ids_of_table
from tests.contract.engine.owner import PIPELINE, Owner, Points
from tests.contract.engine.test_refused import CHOOSY
from tests.contract.engine.test_sinks import survives

ROWS = 12


class Row(Position):
    """The next row."""

    row: int = Field(ge=0)


class Numbers(Source[Row, Pinned]):
    """The numbers from 0 on, four a chunk; the text of every third is none.

    It waits behind the first chunk while a file is there.
    """

    def __init__(self, held: Path) -> None:
        self._held = held

    async def splits(self) -> Sequence[Split]:
        return [Split(SplitId("numbers"))]

    async def read(self, split: Split, start: Row | None) -> AsyncGenerator[Chunk[Row], None]:
        for first in range(start.row if start else 0, ROWS, 4):
            while first and self._held.exists():  # noqa: ASYNC110 - a test removes it
                await asyncio.sleep(0.01)
            numbers = range(first, first + 4)
            bad = [(n - first, f"n{n}", "no number") for n in numbers if n % 3 == 2]
            columns = (list(column) for column in zip(*bad, strict=True))
            rejected = pa.record_batch([*columns], names=list(REJECTED_COLUMNS))
            good = pa.record_batch({"id": pa.array([n for n in numbers if n % 3 != 2], pa.int64())})
            yield Chunk(good, Row(row=first + 4), rejected=rejected)


class Careful(Operator):
    """Refuses seven, and rows of a split that it has not been told of."""

    keeps_splits = True

    def __init__(self) -> None:
        self._open: set[str] = set()

    def splits(self, input_name: str, splits: Sequence[str], *, idles: bool) -> None:
        self._open = set(splits)

    def split_ended(self, via: Via) -> Output:
        self._open.remove(via.split)
        return Output()

    def apply(self, batch: pa.RecordBatch, via: Via) -> Output:
        assert via.split in self._open
        bad = pc.equal(batch.column("id"), pa.scalar(7))
        refused = batch.filter(bad)
        errors = pa.array(["id 7 is 'odd'"] * refused.num_rows, pa.large_string())
        return Output({MAIN: batch.filter(pc.invert(bad))}, refused.append_column(ERROR, errors))


def open_numbers(step: SourceStep, _: Options, __: Context) -> Numbers:
    """Return the source of a step."""
    return Numbers(Path(step.connection_string))


def open_careful(_: TransformStep, __: Options, ___: Context) -> Careful:
    """Return the transform of a step."""
    return Careful()


NUMBERS = SourceSpec("numbers", "Numbers.", Options, f"{__name__}:open_numbers", Row)
CAREFUL = TransformSpec("careful", "No seven.", Options, f"{__name__}:open_careful")
STEPS = Registry([NUMBERS, CAREFUL, CHOOSY, ARROW_FILES])

UNREAD = [2, 5, 8, 11]
READ = [n for n in range(ROWS) if n not in UNREAD]
PASSED = [n for n in READ if n != 7]
WRITTEN = [n for n in PASSED if n % 5]
DEAD = {"source": UNREAD, "careful": [7], "fifths": [0, 10]}


def owner_of(root: Path) -> Owner:
    """Return the owner of numbers -> careful -> all, and -> fifths, a sink that refuses."""
    root.mkdir(parents=True, exist_ok=True)
    spec = PipelineSpec(
        sources={"source": SourceOf("numbers", str(root / "held"))},
        transforms=(Transform("careful", "careful", ("source",)),),
        sinks={
            "all": Sink("arrow-files", str(root / "all"), input="careful"),
            "fifths": Sink("choosy", str(root / "fifths.db"), input="careful"),
        },
        options=PipelineOptions(checkpoint_rows=4, on_error=OnError.DEAD_LETTER),
    )
    return Owner(STEPS, canonical(spec), root / "objects")


def stores(owner: Owner) -> tuple[DeadLetters, Replays]:
    """Return the letters of a pipeline, and its replays."""
    objects = Objects.local(owner.root)
    return DeadLetters(objects, PIPELINE), Replays(objects, PIPELINE)


async def ask(
    owner: Owner, request: str, wanted: Wanted, settings: Mapping[str, str] | None = None
) -> Replay:
    """Ask for letters to be replayed."""
    patch = Patch(tuple(Setting(*each) for each in (settings or {}).items()))
    return await ask_replay(
        *stores(owner), ReplayLetters(request, wanted, patch), graph(owner.spec)
    )


async def ask_for_all(owner: Owner) -> None:
    """Mend what the source could not read; let seven be 71, and 0 and 10 go as they are."""
    text = {"id": "CAST(SUBSTRING(record, 2) AS int64)"}
    await ask(owner, "a", Wanted(step="source"), text)
    await ask(owner, "b", Wanted(step="careful"), {"id": "id * 10 + 1"})
    await ask(owner, "c", Wanted(step="fifths"), {"id": "CASE WHEN id = 0 THEN 101 ELSE id END"})


async def check(owner: Owner, root: Path) -> None:
    """Assert that each letter was replayed once; 10 and the fives are refused again."""
    mended = [*UNREAD, 71]
    assert sorted(ids_of_files(root / "all")) == sorted([*PASSED, *mended])
    assert sorted(ids_of_table(root / "fifths.db")) == sorted(
        [*WRITTEN, *(n for n in mended if n % 5), 101]
    )
    letters = await owner.dead_letters()
    assert sorted((each.split, each.ordinal, each.record) for each in letters) == [
        ("numbers", 5, '{"id":5}'),
        ("numbers", 10, '{"id":10}'),
    ]
    assert owner.stored is not None
    assert owner.stored.ledgers == {
        "all": Ledger(
            records_read=ROWS + 5, records_written=ROWS, records_dead_lettered=len(UNREAD) + 1
        ),
        "fifths": Ledger(
            records_read=ROWS + 7,
            records_written=len(WRITTEN) + 5,
            records_dead_lettered=len(UNREAD) + 3 + 2,
        ),
    }
    _, replays = stores(owner)
    assert await replays.names() == []


async def test_every_letter_is_replayed_where_it_fell_out(tmp_path: Path) -> None:
    """Whatever is behind that step gets it, and nothing else: a sink that had its row does not."""
    owner = owner_of(tmp_path)
    await owner.live(Points())
    found: dict[str, list[int]] = {step: [] for step in DEAD}
    for each in await owner.dead_letters():
        found[each.step].append(each.ordinal)
    assert found == DEAD
    await ask_for_all(owner)
    await owner.live(Points())
    await check(owner, tmp_path)


async def test_broken_at_every_point_each_letter_is_replayed_once(tmp_path: Path) -> None:
    """Its end and its effects are one decision, and letters are removed behind it."""
    at, ended, points = 0, False, Points()
    while not ended:
        root = tmp_path / str(at)
        owner = owner_of(root)
        await owner.live(Points())
        await ask_for_all(owner)
        points = Points(at)
        ended = await survives(owner, points)
        await owner.live(Points())
        await check(owner, root)
        at += 1
    assert {"replay.removed", "replay.forgotten"} < set(points.names)


async def test_a_letter_that_is_asked_for_twice_is_replayed_once(tmp_path: Path) -> None:
    """Two people press the same button, and a request may arrive when its letters are gone."""
    owner = owner_of(tmp_path)
    await owner.live(Points())
    await ask_for_all(owner)
    _, replays = stores(owner)
    asked = await replays.of_request("a")
    assert asked is not None
    await replays.ask("again", asked.entries)
    await owner.live(Points())
    await replays.ask("late", asked.entries)
    await owner.live(Points())
    await check(owner, tmp_path)


async def test_a_request_for_a_step_that_is_gone_is_given_up_and_its_letters_stay(
    tmp_path: Path,
) -> None:
    """An update may come between; nobody waits for ever for what cannot be."""
    owner = owner_of(tmp_path)
    await owner.live(Points())
    await ask(owner, "gone", Wanted(step="careful"))
    await ask(owner, "there", Wanted(step="source"), {"id": "100"})
    sinks = {name: replace(sink, input="source") for name, sink in owner.spec.sinks.items()}
    owner.spec = replace(owner.spec, transforms=(), sinks=sinks)
    await owner.live(Points())
    await owner.live(Points())
    assert await stores(owner)[1].names() == []
    assert 100 in ids_of_files(tmp_path / "all")
    left = {letter.step for letter in await owner.dead_letters()}
    assert "careful" in left
    assert "source" not in left


async def test_a_run_that_goes_on_replays_what_is_asked_for_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pipeline without an end is never started again."""
    monkeypatch.setattr("dataflow.engine.replaying.POLL_S", 0.01)
    owner = owner_of(tmp_path)
    options = PipelineOptions(checkpoint_rows=1, on_error=OnError.DEAD_LETTER)
    owner.spec = replace(owner.spec, options=options)
    (tmp_path / "held").touch()
    letters, replays = stores(owner)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(owner.live(Points()))
        while not await letters.count():  # noqa: ASYNC110 - another process would ask, too
            await asyncio.sleep(0.01)
        await ask(owner, "a", Wanted(step="source"), {"id": "100"})
        while await replays.names():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)
        assert 100 in ids_of_files(tmp_path / "all")
        (tmp_path / "held").unlink()
    assert len(await owner.dead_letters()) == sum(map(len, DEAD.values()))


REFUSALS: Mapping[str, tuple[Wanted, Patch, str, str]] = {
    "a letter that is not there": (
        Wanted(ids=(f"{1:020}-{1:020}-5/0",)),
        Patch(),
        "ids[0]",
        "there is no letter",
    ),
    "an expression that is none": (
        Wanted(step="careful"),
        Patch((Setting("id", "id +"),)),
        "set.id",
        "line 1",
    ),
    "a column that is none": (
        Wanted(step="careful"),
        Patch((Setting("ids", "1"),)),
        "set.ids",
        "one of id",
    ),
    "a value of another type": (
        Wanted(step="careful"),
        Patch((Setting("id", "'seven'"),)),
        "set.id",
        "does not fit int64",
    ),
    "text that is no record": (Wanted(step="source"), Patch(), "record", "no JSON object"),
    "a record for many": (
        Wanted(step="source"),
        Patch(record='{"id": 1}'),
        "record",
        "name it by its id",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
async def test_what_cannot_be_replayed_is_refused_at_once(name: str, tmp_path: Path) -> None:
    """Whoever asks is told what to mend, not the run that would fail hours later."""
    wanted, patch, field, message = REFUSALS[name]
    owner = owner_of(tmp_path)
    await owner.live(Points())
    with pytest.raises(Rejected, match=message) as caught:
        await ask_replay(*stores(owner), ReplayLetters("a", wanted, patch), graph(owner.spec))
    assert caught.value.field == field
    assert await stores(owner)[1].names() == []


async def test_a_whole_new_record_replaces_one_letter(tmp_path: Path) -> None:
    """Also what no parser could read can be mended by hand."""
    owner = owner_of(tmp_path)
    await owner.live(Points())
    letter = next(each for each in await owner.dead_letters() if each.ordinal == 8)
    wanted, graph_of = Wanted(ids=(letter.id,)), graph(owner.spec)
    for record, field in (('{"id": "x"}', "record.id"), ('{"no": 1}', "record.no")):
        asking = ReplayLetters("a", wanted, Patch(record=record))
        with pytest.raises(Rejected) as caught:
            await ask_replay(*stores(owner), asking, graph_of)
        assert caught.value.field == field
    asking = ReplayLetters("a", wanted, Patch(record='{"id": 88}'))
    assert (await ask_replay(*stores(owner), asking, graph_of)).letters == 1
    await owner.live(Points())
    assert 88 in ids_of_files(tmp_path / "all")
    assert letter.id not in {each.id for each in await owner.dead_letters()}


async def test_letters_are_filtered_grouped_and_purged(tmp_path: Path) -> None:
    """A thousand letters have a few causes; once they are mended elsewhere, they go."""
    owner = owner_of(tmp_path)
    await owner.live(Points())
    letters, _ = stores(owner)
    found = {(each.step, each.error): each.letters for each in await causes(letters)}
    assert found == {
        ("source", "no number"): 4,
        ("fifths", "no fifths"): 2,
        ("careful", "id # is '…'"): 1,
    }
    page, _ = await letters.page("", 10, Wanted(error="fifths"))
    assert [each.ordinal for each in page] == DEAD["fifths"]
    first, token = await letters.page("", 3, Wanted(step="source"))
    rest, end = await letters.page(token, 3, Wanted(step="source"))
    assert ([each.ordinal for each in (*first, *rest)], end) == (UNREAD, "")
    assert await purge(letters, Wanted(step="source")) == len(UNREAD)
    assert {each.step for each in await owner.dead_letters()} == {"careful", "fifths"}
    assert await purge(letters, Wanted()) == 3
    await owner.live(Points())
    assert (await owner.dead_letters(), await letters.count()) == ([], 0)
