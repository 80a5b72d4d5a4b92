"""The console sink: rows as lines, on whatever it is handed."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dataflow.connect import Context, Guarantee, Rejected, SinkStep, Task, Unavailable
from dataflow.connect.spec import parse
from dataflow.connectors.console import SPEC, ConsoleOptions
from dataflow.connectors.console_shown import CELLS_MAX, cells, fitted, shown_as
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


async def test_pretty_writes_objects_over_several_lines() -> None:
    """Nested values are what nobody can read in a line."""
    batch = pa.record_batch({"a": ["é\x1b"], "d": [{"n": [1, None]}], "big": [2**62]})
    text = await shown(batch, batch, format="pretty")
    assert text == 2 * (
        '{\n  "a": "é\\u001b",\n  "d": {\n    "n": [\n      1,\n      null\n    ]\n  },\n'
        f'  "big": {2**62}\n}}\n'
    )


async def test_a_table_has_aligned_columns() -> None:
    """Numbers to the right, texts to the left, whatever a letter takes on the screen."""
    batch = pa.record_batch(
        {"name": ["é", "日本", None], "n": [1.5, 20, None], "t": ["", "x", "y"]}
    )
    assert (await shown(batch, format="table")).splitlines() == [
        "name | n    | t",
        "-----+------+--",
        "é    |  1.5 |",
        "日本 | 20.0 | x",
        "null | null | y",
    ]


async def test_a_table_has_its_names_again_when_they_change_or_no_longer_fit() -> None:
    """Rows below other names, or beside them, would be read as something else."""
    short, long = pa.record_batch({"a": [1]}), pa.record_batch({"a": [12345]})
    other = pa.record_batch({"b": [7]})
    # batches that follow one another are gathered, so each is a sink's call of its own
    show = shown_as("table")
    texts = [show(batch).decode() for batch in (short, short, long, short, other)]
    assert texts == [
        "a\n-\n1\n",
        "1\n",
        "\na\n-----\n12345\n",
        "    1\n",
        "\nb\n-\n7\n",
    ]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("x" * 40, "x" * 40),
        ("x" * 41, "x" * 39 + "…"),
        ("日" * 20, "日" * 20),
        ("日" * 21, "日" * 19 + "…"),
        ("e\u0301" * 40, "e\u0301" * 40),
        ("a\u0301" + "\u0301" * 1000, "a" + "\u0301" * 160 + "…"),
        ("a\nb\x1b[2J\u202e", r"a\nb\x1b[2J\u202e"),
        ("x" * 39 + "\x1b", "x" * 39 + "…"),
        (None, "null"),
    ],
)
def test_a_wide_value_is_cut_and_one_that_moves_the_cursor_is_escaped(
    value: str | None, cell: str
) -> None:
    """A line break ends the table's line, and an escape may clear the screen."""
    assert fitted(value) == cell
    assert cells(cell) <= CELLS_MAX + 1


async def test_a_table_shows_each_kind_of_value() -> None:
    """As csv has them: moments in ISO 8601, nested values as JSON, bytes in base64."""
    moment = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
    batch = pa.record_batch(
        {
            "zoned": pa.array([moment], pa.timestamp("ms", "UTC")),
            "bare": pa.array([moment.replace(tzinfo=None)], pa.timestamp("ms")),
            "nested": [[{"a": 1}]],
            "bytes": [b"\xff"],
            "truth": [True],
            "none": pa.nulls(1),
        }
    )
    row = (await shown(batch, format="table")).splitlines()[-1]
    assert [value.strip() for value in row.split(" | ")] == [
        "2026-03-01T12:30:00.000+00:00",
        "2026-03-01T12:30:00.000",
        '[{"a":1}]',
        "/w==",
        "true",
        "null",
    ]


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
    with pytest.raises(Invalid, match=r"options\.format: unknown 'xml', one of 'json', 'csv', "):
        parse(ConsoleOptions, '{"format": "xml"}')
    step = SinkStep(sink_type="console", connection_string="/tmp/x")  # noqa: S108 - not written
    (problem,) = SPEC.check(step, ConsoleOptions())
    assert str(problem).startswith("connectionString: leave it empty")
