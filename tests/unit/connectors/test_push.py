"""The ``push`` source: options, columns, positions, and what it tells the log."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pytest

from dataflow.connect import (
    Chunk,
    Context,
    Corrupted,
    Log,
    LogBatch,
    Rejected,
    SourceStep,
    Waiting,
    load,
)
from dataflow.connect.spec import parse
from dataflow.connectors.push import SPEC, PushOptions, PushPinned, PushPosition
from dataflow.connectors.push_source import SPLIT, Push
from dataflow.core.ids import PipelineId
from dataflow.engine.ingest import FileLogs

PIPELINE = PipelineId("p")
SCHEMA = pa.schema([("n", pa.int64())])


class Still:
    """A clock that nobody looks at."""

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)

    def steady(self) -> float:
        return 0.0


class ListLog:
    """A log in memory, which the source cannot tell from one on disk."""

    def __init__(self, rows: int, frame: int) -> None:
        self.first = 0
        self._rows = rows
        self._frame = frame

    async def read(self, start: int) -> AsyncGenerator[LogBatch, None]:
        while start < self._rows:
            end = min(start - start % self._frame + self._frame, self._rows)
            yield LogBatch(pa.record_batch([pa.array(range(start, end))], schema=SCHEMA), end)
            start = end

    async def begin(self) -> int:
        return self.first

    async def end(self) -> int:
        return self._rows

    async def behind(self, start: int) -> tuple[int, int]:
        return self._rows - start, 8 * (self._rows - start)

    async def schema(self) -> pa.Schema | None:
        return SCHEMA if self._rows else None

    async def cut(self, below: int) -> None:
        self.first = max(self.first, below)


def source(log: Log | None, batch_size: int = 0, **options: object) -> Push:
    """Return a source as the engine makes it."""
    checked = parse(PushOptions, orjson.dumps(options).decode())
    step = SourceStep(source_type="push", batch_size=batch_size)
    context = Context(PIPELINE, "source", Still(), str, Path, log)
    made: Push = load(SPEC.open)(step, checked, context)
    return made


async def chunks(push: Push, offset: int | None, rows: int) -> list[Chunk[PushPosition]]:
    """Read at least so many rows."""
    found: list[Chunk[PushPosition]] = []
    start = None if offset is None else PushPosition(offset=offset)
    async with aclosing(push.read(SPLIT, start)) as reading:
        async for chunk in reading:
            found.append(chunk)
            rows -= chunk.batch.num_rows
            if rows <= 0:
                break
    return found


@pytest.mark.parametrize("batch_size", [1, 3, 4, 7, 100])
async def test_a_position_is_the_next_record_whatever_the_size_of_a_batch(batch_size: int) -> None:
    """Pushed batches are cut to ``batchSize``, and a position may be within one."""
    for start in range(10):
        found = await chunks(source(ListLog(10, 4), batch_size), start, 10 - start)
        offset = start
        for chunk in found:
            assert 0 < chunk.batch.num_rows <= batch_size
            rows = chunk.batch.column("n").to_pylist()
            assert rows == list(range(offset, chunk.resume_at.offset))
            offset = chunk.resume_at.offset
        assert offset == 10


async def test_without_a_position_it_begins_at_what_is_still_there() -> None:
    """A new lineage over a log of which some is forgotten."""
    log = ListLog(10, 4)
    log.first = 6
    (first, *_) = await chunks(source(log), None, 4)
    assert first.batch.column("n").to_pylist() == [6, 7]


async def test_what_is_decided_may_be_forgotten() -> None:
    """When a run starts, all before its position; afterwards with every decision."""
    log = ListLog(10, 4)
    push = source(log)
    await chunks(push, 3, 1)
    assert log.first == 3
    await push.acknowledge(SPLIT, PushPosition(offset=8))
    assert log.first == 8


async def test_lag_is_what_has_not_been_read() -> None:
    """Unknown until it reads."""
    push = source(ListLog(10, 4))
    assert await push.lag() == (-1, -1)
    await chunks(push, 0, 1)
    assert await push.lag() == (6, 48)


async def test_latest_is_the_end_and_there_is_one_split_without_end() -> None:
    """For a lineage that begins at the end."""
    push = source(ListLog(10, 4))
    assert await push.latest(SPLIT) == PushPosition(offset=10)
    assert list(await push.splits()) == [SPLIT]
    assert not push.bounded


async def test_it_waits_for_a_first_batch_unless_columns_are_declared() -> None:
    """Nothing can be fixed for the lineage before."""
    with pytest.raises(Waiting, match="no batch has been pushed yet"):
        await source(ListLog(0, 1)).open(None)
    declared = {"at": "timestamptz", "n": "int"}
    pinned = await source(ListLog(0, 1), schema=declared).open(None)
    assert [(c.name, c.type) for c in pinned.columns] == [
        ("at", "timestamp(us, 'UTC')"),
        ("n", "int64"),
    ]


async def test_columns_are_those_of_the_log_and_of_the_lineage() -> None:
    """Else rows of one lineage would have two schemas."""
    pinned = await source(ListLog(1, 1)).open(None)
    assert await source(ListLog(1, 1), schema={"n": "int64"}).open(pinned) == pinned
    with pytest.raises(Rejected, match=r"options.schema: .* has n: int64, .* declares n: string"):
        await source(ListLog(1, 1), schema={"n": "string"}).open(None)
    other = PushPinned.model_validate({"columns": [{"name": "n", "type": "string"}]})
    with pytest.raises(Rejected, match="the columns were n: string and are n: int64"):
        await source(ListLog(1, 1)).open(other)


def test_a_node_without_a_log_says_so() -> None:
    """Rather than read nothing for ever."""
    with pytest.raises(Rejected, match="there is no ingest log here"):
        source(None)


@pytest.mark.parametrize(
    ("step", "options", "field", "message"),
    [
        ({"connection_string": "x"}, {}, "connectionString", "leave it empty: records come by"),
        ({}, {"onError": "skip"}, "options.onError", "is refused as a whole"),
        ({}, {"onError": "dead-letter"}, "options.onError", "is refused as a whole"),
        ({}, {"schema": {"a": "sting"}}, "options.schema.a", "string"),
        ({}, {"schema": {"a": "duration"}}, "options.schema.a", "cannot hold duration"),
        ({}, {"schema": {"a": "decimal(50, 2)"}}, "options.schema.a", "use at most 38 digits"),
        ({}, {"schema": {"__ordinal": "int"}}, "options.schema.__ordinal", "the engine adds"),
    ],
)
def test_options_that_cannot_be_are_problems(
    step: dict[str, Any], options: dict[str, Any], field: str, message: str
) -> None:
    """When the pipeline is made, not when it runs."""
    checked = parse(PushOptions, orjson.dumps(options).decode())
    (problem,) = SPEC.check(SourceStep(source_type="push", **step), checked)
    assert problem.field == field
    assert message in problem.message


@pytest.mark.parametrize(
    "options",
    [
        {"bufferBytes": 1},
        {"bufferbytes": 1 << 30},
        {"schema": [{"name": "a"}]},
        {"schema": [{"name": "a", "type": "int"}, {"name": "a", "type": "int"}]},
    ],
)
def test_options_are_bounded_and_closed(options: dict[str, Any]) -> None:
    """A misspelt option is an error."""
    with pytest.raises(Rejected):
        parse(PushOptions, orjson.dumps(options).decode())


def test_options_that_can_be_are_no_problem() -> None:
    """The declared columns are known to the steps that follow, in their order."""
    listed = [{"name": "b", "type": "int"}, {"name": "a", "type": "list<struct<x: date>>"}]
    checked = parse(PushOptions, orjson.dumps({"schema": listed, "onError": "fail"}).decode())
    assert not SPEC.check(SourceStep(source_type="push"), checked)
    assert SPEC.schema(checked) == {"b": "int", "a": "list<struct<x: date>>"}
    assert SPEC.schema(parse(PushOptions, "")) is None


async def test_it_reads_the_log_on_disk_from_any_record(tmp_path: Path) -> None:
    """The real log, with options taken from the source's."""
    logs = FileLogs(tmp_path)
    options = parse(PushOptions, '{"schema": {"n": "int"}, "bufferBytes": 1048576}')
    for first in range(0, 12, 3):
        body = orjson.dumps([{"n": n} for n in range(first, first + 3)])
        kind = "application/json"
        await logs.append(PIPELINE, f"b{first}", kind, body, source_options=options)
    push = source(logs.log(PIPELINE), 2, schema={"n": "int"})
    assert (await push.open(None)).columns[0].type == "int64"
    for start in range(12):
        found = await chunks(push, start, 12 - start)
        rows = [n for chunk in found for n in chunk.batch.column("n").to_pylist()]
        assert rows == list(range(start, 12))
    with pytest.raises(Corrupted, match="the pipeline has read to record 13"):
        await chunks(push, 13, 1)
    assert (await push.lag())[0] == 0
    await logs.close()
