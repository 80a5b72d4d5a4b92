"""Records that a step could not handle: staged with a checkpoint, kept when it is decided.

An object a checkpoint, in the object store: ``deadletters/<pipeline>/staged/<name>`` until the
decision, then ``deadletters/<pipeline>/kept/<name>``, where the name is number, run and count of
letters, and of a lane but the first its index. Recovery moves what was decided again and drops
what was not, so no letter is lost or listed twice.

A letter is named by its object and its row there. It is removed by a mark beside the object,
``deadletters/<pipeline>/gone/<name>/<digest>``, which lists rows: marks only add up, so whoever
comes late, a run that has been taken over included, can bring no letter back.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from collections.abc import AsyncGenerator, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from io import BytesIO
from typing import TYPE_CHECKING

import orjson
import xxhash

from dataflow.core.errors import Corrupted, Rejected
from dataflow.core.ids import PipelineId, Run, SplitId
from dataflow.core.lanes import ALONE, Lane
from dataflow.engine.objects import Objects
from dataflow.engine.records import EVERY, DeadLetter, Wanted

if TYPE_CHECKING:
    import pyarrow as pa

DIGITS = 20
"""Of a number in a key, so that keys sort as numbers do."""

PLACE = re.compile(
    rf"\d{{{DIGITS}}}-\d{{{DIGITS}}}(?:\.\d{{1,9}})?-\d{{1,18}}/\d{{1,18}}", re.ASCII
)
"""A letter, and where a page begins: the name of an object that is kept, and a row of it."""


class DeadLetters:
    """The dead letters of one pipeline."""

    def __init__(self, objects: Objects, pipeline: PipelineId, lane: Lane = ALONE) -> None:
        self._objects = objects
        self._lane = lane
        self._root = letters_root(pipeline)
        self.some = asyncio.Event()
        """Set once a run has seen that one has been kept."""
        self._origins: dict[str, tuple[Sequence[str], Sequence[int]]] = {}

    def trace(self, split: SplitId, splits: Sequence[str], ordinals: Sequence[int]) -> None:
        """Take note which records the rows of a replay were: new letters shall name those."""
        self._origins[split] = splits, ordinals

    def untrace(self, splits: Iterable[SplitId]) -> None:
        """Forget that of replays that are decided."""
        for split in splits:
            self._origins.pop(split, None)

    async def stage(self, run: Run, number: int, batches: Sequence[pa.RecordBatch]) -> str:
        """Keep letters (``rejects.LETTERS``) until they are decided; returns what to commit."""
        if not batches:
            return ""
        batches = [self._traced(batch) for batch in batches]
        rows = sum(batch.num_rows for batch in batches)
        lane = f".{self._lane.index}" if self._lane.index else ""
        name = f"{number:0{DIGITS}}-{run:0{DIGITS}}{lane}-{rows}"
        await self._objects.put(f"{self._root}/staged/{name}", _encode(batches))
        return name

    def _traced(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return letters, all of one split, as of the records that their rows were at first."""
        origin = self._origins.get(batch.column("split")[0].as_py()) if self._origins else None
        if origin is None:
            return batch
        import pyarrow as pa  # noqa: PLC0415 - never at start-up

        at = batch.column("ordinal").to_pylist()
        splits = pa.array([origin[0][row or 0] for row in at], pa.string())
        ordinals = pa.array([origin[1][row or 0] for row in at], pa.int64())
        columns = {name: batch.column(name) for name in batch.schema.names}
        return pa.RecordBatch.from_pydict(
            columns | {"split": splits, "ordinal": ordinals}, schema=batch.schema
        )

    async def commit(self, staged: str) -> None:
        """Let decided letters be seen; again is no harm, also when all are gone since."""
        if not staged:
            return
        self.some.set()
        try:
            await self._objects.move(f"{self._root}/staged/{staged}", f"{self._root}/kept/{staged}")
        except Corrupted:
            if not await self._objects.keys(f"{self._root}/gone/{staged}"):
                raise

    async def sweep(self, run: Run, decided: str) -> None:
        """Drop what older runs left: what they staged and nobody decided, and marks of nothing.

        The marks of what was ``decided`` when the run began stay: it may be committed again, and
        they say that it may be gone. What another lane has left is that one's to drop.
        """
        by_place: dict[str, dict[str, str]] = defaultdict(dict)
        for key in await self._objects.keys(self._root):
            place, name, *_ = key.removeprefix(f"{self._root}/").split("/")
            by_place[place][key] = name
        kept = set(by_place["kept"].values())
        if kept:
            self.some.set()
        stale = [k for k, name in by_place["staged"].items() if self._is_left(name, run)]
        for key, name in by_place["gone"].items():
            if self._is_left(name, run) and name not in kept and name != decided:
                stale.append(key)
        await self._objects.delete(stale)

    def _is_left(self, name: str, run: Run) -> bool:
        return _run(name) < run and self._lane.owns(_lane(name))

    async def count(self) -> int:
        """Return how many letters there are."""
        kept = await self._kept()
        gone = await self._gone(kept)
        return sum(_rows(name) - len(gone.get(name, ())) for name in kept)

    async def present(self, ids: Collection[str]) -> AbstractSet[str]:
        """Return those of some letters that are there."""
        kept = set(await self._kept())
        gone = await self._gone(kept)
        return {
            each
            for each in ids
            for name, row in [_place(each)]
            if name in kept and row < _rows(name) and row not in gone.get(name, ())
        }

    async def remove(self, ids: Collection[str]) -> None:
        """Let letters be gone; again is no harm."""
        by_name: dict[str, list[int]] = defaultdict(list)
        kept = set(await self._kept())
        for each in ids:
            name, row = _place(each)
            if name in kept:
                by_name[name].append(row)
        for name, rows in by_name.items():
            mark = orjson.dumps(sorted(rows))
            digest = xxhash.xxh3_128_hexdigest(mark)
            await self._objects.put(f"{self._root}/gone/{name}/{digest}", mark)
        gone = await self._gone(by_name)
        empty = [name for name in by_name if len(gone.get(name, ())) == _rows(name)]
        await self._objects.delete([f"{self._root}/kept/{name}" for name in empty])

    async def page(
        self, after: str, limit: int, wanted: Wanted = EVERY
    ) -> tuple[Sequence[DeadLetter], str]:
        """Return letters from ``after`` (``<object>/<row>``) on, and where the next page begins.

        Raises:
            Rejected: ``after`` is no such place.
        """
        if after and not PLACE.fullmatch(after):
            raise Rejected("is not a token of this list; take nextPageToken", field="pageToken")
        found: list[DeadLetter] = []
        async for table in self.tables(wanted, after):
            room = limit - len(found)
            rows = table.select([*_SHOWN]).slice(0, room + 1).to_pylist()
            found += [DeadLetter(**row) for row in rows[:room]]
            if len(rows) > room:
                return found, str(rows[room]["id"])
        return found, ""

    async def tables(
        self, wanted: Wanted = EVERY, after: str = ""
    ) -> AsyncGenerator[pa.Table, None]:
        """Yield the letters that are wanted, from one on, object by object.

        Each table has the columns of ``rejects.LETTERS``, and ``id`` and ``run``.
        """
        first, _, begin = after.partition("/")
        kept = await self._kept()
        gone = await self._gone(kept)
        only = {_place(each)[0] for each in wanted.ids}
        for name in kept:
            if name < first or (only and name not in only):
                continue
            payload = await self._objects.get(f"{self._root}/kept/{name}")
            skip = int(begin) if name == first else 0
            table = _wanted(_decode(payload, name), wanted, gone.get(name, frozenset()), skip)
            if table.num_rows:
                yield table

    async def _kept(self) -> Sequence[str]:
        return [key.rpartition("/")[2] for key in await self._objects.keys(f"{self._root}/kept")]

    async def _gone(self, kept: Collection[str]) -> Mapping[str, AbstractSet[int]]:
        """Return the rows that are gone, by object, of those that are kept.

        The marks of other objects may be swept while one reads them.
        """
        found: dict[str, set[int]] = defaultdict(set)
        for key in await self._objects.keys(f"{self._root}/gone"):
            if (name := key.split("/")[-2]) in kept:
                found[name].update(orjson.loads(await self._objects.get(key)))
        return found


def letters_root(pipeline: PipelineId) -> str:
    """Return what all keys of a pipeline's letters, and of their replays, begin with."""
    return f"deadletters/{pipeline}"


_SHOWN = ("step", "split", "ordinal", "record", "error", "time", "run", "id")


def _place(letter: str) -> tuple[str, int]:
    """Return the object and the row of a letter.

    Raises:
        Rejected: it is no id of one.
    """
    if not PLACE.fullmatch(letter):
        raise Rejected(f"{letter!r:.120} is no id of a dead letter; take it from the list")
    name, _, row = letter.partition("/")
    return name, int(row)


def _run(name: str) -> int:
    return int(name.split("-")[1].partition(".")[0])


def _lane(name: str) -> int:
    return int(name.split("-")[1].partition(".")[2] or 0)


def _rows(name: str) -> int:
    return int(name.rpartition("-")[2])


def _encode(batches: Sequence[pa.RecordBatch]) -> bytes:
    import pyarrow as pa  # noqa: PLC0415 - never at start-up

    sink = BytesIO()
    table = pa.Table.from_batches(list(batches)).unify_dictionaries()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _decode(payload: bytes, name: str) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 - never at start-up

    table = pa.ipc.open_file(BytesIO(payload)).read_all()
    ids = pa.array([f"{name}/{row}" for row in range(table.num_rows)], pa.string())
    run = pa.repeat(pa.scalar(_run(name), pa.int64()), table.num_rows)
    return table.append_column("id", ids).append_column("run", run)


def _wanted(table: pa.Table, wanted: Wanted, gone: AbstractSet[int], skip: int) -> pa.Table:
    import pyarrow as pa  # noqa: PLC0415 - never at start-up
    import pyarrow.compute as pc  # noqa: PLC0415 - never at start-up

    rows = [row for row in range(skip, table.num_rows) if row not in gone]
    found = table.take(pa.array(rows, pa.int64()))
    if wanted.ids:
        found = found.filter(pc.is_in(found["id"], value_set=pa.array(wanted.ids, pa.string())))
    if wanted.step:
        found = found.filter(pc.equal(found["step"], pa.scalar(wanted.step)))
    if wanted.error:
        found = found.filter(pc.match_substring(found["error"], wanted.error))
    return found
