"""The console sink: rows as lines, on whatever it is handed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dataflow.connect import Context, Guarantee, Rejected, SinkStep, Task, Unavailable
from dataflow.connect.spec import parse
from dataflow.connectors.console import SPEC, ConsoleOptions
from dataflow.connectors.console_sink import ConsoleSink, Writer, open_sink
from dataflow.core.errors import Invalid
from dataflow.core.ids import Lineage, PipelineId, Run
from tests.unit.connectors.file_sink.rig import Clock

TASK = Task(PipelineId("p"), 0, Run(1), Lineage(1))
ROWS = pa.record_batch({"a": ["x", None, 'q"'], "n": [1, 2, 3]})


class Calls(io.BytesIO):
    """Remembers each write, and in which thread it was."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.threads: set[int] = set()

    def write(self, data: Any, /) -> int:  # noqa: ANN401 - any buffer
        self.threads.add(threading.get_ident())
        self.written.append(bytes(data))
        return super().write(data)


def sink_of(
    writer: Writer | None, options: Mapping[str, str] | None = None, batch_size: int = 0
) -> ConsoleSink:
    """Return a console sink."""
    context = Context(PipelineId("p"), "sink", Clock(), str, Path)
    step = SinkStep(sink_type="console", batch_size=batch_size)
    return open_sink(step, parse(ConsoleOptions, json.dumps(options or {})), context, writer)


async def shown(*batches: pa.RecordBatch, **options: str) -> str:
    """Return what is written for batches."""
    out = Calls()
    sink = sink_of(out, options)
    await sink.open(TASK)
    for batch in batches:
        await sink.write(batch)
    await sink.flush()
    await sink.close()
    return out.getvalue().decode()


async def test_json_is_the_default_and_writes_an_object_a_line() -> None:
    """The request in the specification names no format."""
    assert await shown(ROWS) == '{"a":"x","n":1}\n{"a":null,"n":2}\n{"a":"q\\"","n":3}\n'


async def test_csv_writes_the_names_once_and_again_when_they_change() -> None:
    """A line of names stands above the rows that it names."""
    other = pa.record_batch({"b": [4]})
    text = await shown(ROWS, ROWS.slice(0, 1), other, format="csv")
    assert text == 'a,n\nx,1\n,2\n"q""",3\nx,1\nb\n4\n'


async def test_batch_size_is_how_many_rows_are_written_at_once() -> None:
    """Several pipelines share one output and take turns."""
    out = Calls()
    sink = sink_of(out, batch_size=2)
    await sink.open(TASK)
    await sink.write(ROWS)
    await sink.close()
    assert [len(lines.splitlines()) for lines in out.written] == [2, 1]


async def test_it_never_writes_in_the_event_loops_thread() -> None:
    """A pipe whose reader is slow would stop every pipeline of the process."""
    out = Calls()
    sink = sink_of(out)
    await sink.open(TASK)
    await sink.write(ROWS)
    await sink.flush()
    await sink.close()
    assert out.threads.isdisjoint({threading.get_ident()})


async def test_a_reader_that_is_gone_is_told() -> None:
    """``dataflow | head`` ends its reader; the rows are written again when there is one."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb", buffering=0) as pipe:
        sink = sink_of(pipe)
        await sink.write(ROWS)
        with pytest.raises(Unavailable, match=r"p\.sink: cannot write to standard output: .*pipe"):
            await sink.flush()
        await sink.close()


async def test_small_batches_are_written_together() -> None:
    """A call costs the same for a row as for a hundred; standard output waits for a flush too."""
    out = Calls()
    sink = sink_of(out)
    await sink.open(TASK)
    for row in range(3):
        await sink.write(ROWS.slice(row, 1))
    assert out.written == []
    await sink.flush()
    await sink.close()
    assert [len(lines.splitlines()) for lines in out.written] == [3]


async def test_a_column_it_cannot_show_is_named() -> None:
    """The same words as from the file sink."""
    with pytest.raises(Rejected, match="column 'v'"):
        await shown(pa.record_batch({"v": pa.array([None], pa.decimal256(40, 2))}))


def test_without_a_writer_it_writes_to_standard_output() -> None:
    """That is what it is for."""
    script = (
        "import asyncio, pyarrow as pa\n"
        "from tests.unit.connectors.test_console import sink_of, TASK\n"
        "async def main():\n"
        "    sink = sink_of(None)\n"
        "    await sink.write(pa.record_batch({'a': [1]}))\n"
        "    await sink.flush()\n"
        "    await sink.close()\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == '{"a":1}\n'


def test_it_says_what_it_is() -> None:
    """Honest about a crash, closed to unknown options, and cheap to import."""
    script = "import sys, dataflow.connectors.console; print({'pyarrow'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
    assert SPEC.guarantee is Guarantee.AT_LEAST_ONCE
    with pytest.raises(Invalid, match=r"options\.format: unknown 'table', one of 'json' or 'csv'"):
        parse(ConsoleOptions, '{"format": "table"}')
    step = SinkStep(sink_type="console", connection_string="/tmp/x")  # noqa: S108 - not written
    (problem,) = SPEC.check(step, ConsoleOptions())
    assert str(problem).startswith("connectionString: leave it empty")
