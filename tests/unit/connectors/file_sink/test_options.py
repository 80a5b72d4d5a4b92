"""What can be asked of the file sink, what contradicts itself, and what each option changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow.connect import Rejected, SinkStep
from dataflow.connect.spec import parse
from dataflow.connectors.file.sink_spec import SPEC, FileSinkOptions
from dataflow.core.errors import Invalid
from tests.unit.connectors.file_sink.rig import ROWS, Rig, arrow_table, batch_of


def problems(target: str, **options: Any) -> list[str]:  # noqa: ANN401 - any JSON
    """Return what is wrong with a sink, as a caller is told."""
    try:
        parsed = parse(FileSinkOptions, json.dumps(options))
    except Invalid as error:
        return [str(problem) for problem in error.problems]
    step = SinkStep(sink_type="file", connection_string=target)
    return [str(problem) for problem in SPEC.check(step, parsed)]


@pytest.mark.parametrize(
    ("target", "options"),
    [
        ("/out/a.csv", {"header": False, "delimiter": ";", "quoteStyle": "always"}),
        ("/out/a.csv.gz", {"compression": "gzip"}),
        ("/out/a.txt", {"format": "csv", "header": True}),
        ("/out/a.parquet", {"compression": "zstd", "ifExists": "replace"}),
        ("/out/a.json.zst", {}),
        ("/out/a.feather", {"compression": "zstd"}),
        ("/out/late", {"format": "parquet", "rotateRows": 0, "rotateInterval": "1h"}),
        ("/out/v1.2", {"format": "text", "compression": "gzip", "column": "line"}),
        ("/out/a.csv/", {"format": "csv", "rotateBytes": 10}),
    ],
)
def test_what_agrees_is_accepted(target: str, options: dict[str, Any]) -> None:
    """Refusing too much would be as bad as accepting too much."""
    assert problems(target, **options) == []


@pytest.mark.parametrize(
    ("target", "options", "told"),
    [
        ("", {}, "connectionString: missing; give a file or a directory"),
        ("/out/a", {}, "options.format: missing; a directory needs one of"),
        ("/out/a.csv", {"format": "json"}, "options.format: 'json' contradicts the name"),
        ("/out/a.json", {"header": True}, "options.header: only for format csv"),
        ("/out/a.json", {"delimiter": ","}, "options.delimiter: only for format csv"),
        ("/out/a.txt", {"quoteStyle": "always"}, "options.quoteStyle: only for format csv"),
        ("/out/a.parquet", {"nullValue": "NA"}, "options.nullValue: only for format csv"),
        ("/out/a.csv", {"column": "a"}, "options.column: only for format text"),
        ("/out/a.csv", {"rotateRows": 1}, "options.rotateRows: only for a directory"),
        ("/out/a.csv", {"rotateBytes": 1}, "options.rotateBytes: only for a directory"),
        ("/out/a.csv", {"rotateInterval": "1s"}, "options.rotateInterval: only for a directory"),
        ("/out/a.csv.gz", {"compression": "zstd"}, "options.compression: 'zstd' contradicts"),
        ("/out/a.csv", {"compression": "gzip"}, "options.compression: 'gzip' contradicts"),
        ("/out/a.csv", {"compression": "snappy"}, "options.compression: csv: one of gzip, zstd"),
        ("/out/a", {"format": "parquet", "compression": "gzip"}, "options.compression: parquet"),
        ("/out/a.parquet.gz", {}, "connectionString: parquet compresses inside"),
        ("/out/a.ipc.zst", {}, "connectionString: arrow compresses inside"),
        ("/out/a.feather", {"compression": "snappy"}, "options.compression: arrow: one of none"),
        ("/out/a.arrow", {"ifExists": "append"}, "options.ifExists: an Arrow file cannot"),
        ("/out/a.parquet", {"ifExists": "append"}, "options.ifExists: a parquet file cannot"),
        ("/out/a.csv", {"delimiter": '"'}, "options.delimiter: Value error, use one ASCII"),
        ("/out/a.csv", {"delimiter": ";;"}, "options.delimiter: Value error, use one ASCII"),
        ("/out/a.csv", {"compression": "lz4"}, "options.compression: unknown 'lz4', one of 'auto'"),
        ("/out/a", {"format": "csv", "rotateInterval": 5}, "options.rotateInterval: Value error, "),
        ("/out/a.csv", {"delimeter": ";"}, "options.delimeter: unknown option; one of "),
        ("/out/a.csv", {"format": "cvs"}, "options.format: unknown 'cvs', one of 'arrow', 'csv'"),
        ("/out/a", {"format": "csv", "rotateRows": -1}, "options.rotateRows: Input should be"),
    ],
)
def test_what_contradicts_itself_is_refused_by_its_field(
    target: str, options: dict[str, Any], told: str
) -> None:
    """An option that does nothing is one that somebody believes in."""
    found = problems(target, **options)
    assert len(found) == 1
    assert found[0].startswith(told)


def test_the_spec_loads_no_arrow() -> None:
    """Specs are imported at start-up, where Arrow and Polars would be half of the memory."""
    script = (
        "import sys, dataflow.connectors.file.sink_spec;"
        "print({'pyarrow', 'polars'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


async def written(target: Path, *batches: pa.RecordBatch, **options: Any) -> Rig:  # noqa: ANN401 - any JSON
    """Write batches as one finished run."""
    rig = Rig(target, options)
    sink = rig.sink()
    await sink.open(rig.task(), None)
    await sink.commit(await sink.prepare(0, final=False))
    for batch in batches:
        await sink.write(batch)
    await sink.commit(await sink.prepare(1, final=True))
    await sink.close()
    return rig


VALUES = pa.record_batch({"a": ["x", None, "y;z"], "b": [1, None, 2]})


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({}, "a,b\nx,1\n,\ny;z,2\n"),
        ({"header": False}, "x,1\n,\ny;z,2\n"),
        ({"delimiter": ";"}, 'a;b\nx;1\n;\n"y;z";2\n'),
        ({"nullValue": "NA"}, "a,b\nx,1\nNA,NA\ny;z,2\n"),
        ({"quoteStyle": "always"}, '"a","b"\n"x","1"\n"",""\n"y;z","2"\n'),
        ({"quoteStyle": "nonNumeric"}, '"a","b"\n"x",1\n,\n"y;z",2\n'),
    ],
)
async def test_each_csv_option_changes_the_text(
    options: dict[str, Any], text: str, tmp_path: Path
) -> None:
    """An option that is parsed and ignored is a defect."""
    await written(tmp_path / "a.csv", VALUES, **options)
    assert (tmp_path / "a.csv").read_text() == text


@pytest.mark.parametrize(
    ("options", "codec"),
    [({}, "SNAPPY"), ({"compression": "zstd"}, "ZSTD"), ({"compression": "none"}, "UNCOMPRESSED")],
)
async def test_parquet_is_compressed_inside(
    options: dict[str, Any], codec: str, tmp_path: Path
) -> None:
    """Its codec is in the file's own description."""
    await written(tmp_path / "a.parquet", VALUES, **options)
    group = pq.read_metadata(tmp_path / "a.parquet").row_group(0)
    assert group.column(0).compression == codec


@pytest.mark.parametrize(("compression", "smaller"), [("auto", False), ("zstd", True)])
async def test_arrow_is_compressed_where_it_is_asked_for(
    compression: str, *, smaller: bool, tmp_path: Path
) -> None:
    """Whoever maps a file has to find the values in it as they are."""
    batch = pa.record_batch({"a": ["the same"] * 1000})
    await written(tmp_path / "a.arrow", batch, compression=compression)
    assert ((tmp_path / "a.arrow").stat().st_size < batch.nbytes) is smaller
    assert arrow_table(tmp_path / "a.arrow").to_batches() == [batch]


@pytest.mark.parametrize(
    ("kind", "name"),
    [("parquet", "a.txt"), ("parquet", "a.PARQUET"), ("arrow", "a.txt"), ("arrow", "a.ARROW")],
)
async def test_a_name_that_does_not_tell_makes_the_same_file(
    kind: str, name: str, tmp_path: Path
) -> None:
    """What waits is a stream, and must not be shown as one."""
    await written(tmp_path / name, VALUES, format=kind)
    read = pq.read_table if kind == "parquet" else arrow_table
    assert read(tmp_path / name).to_pylist() == VALUES.to_pylist()


async def test_a_part_holds_exactly_as_many_rows_as_asked_for(tmp_path: Path) -> None:
    """A batch is sliced where a part is full."""
    rig = await written(tmp_path / "a", batch_of(0, 25), format="csv", rotateRows=10)
    assert [len(p.read_text().splitlines()) for p in sorted(rig.target.glob("part-*"))] == [
        11,
        11,
        6,
    ]


@pytest.mark.parametrize("compression", ["none", "gzip"])
async def test_a_part_ends_with_the_batch_that_reaches_its_bytes(
    compression: str, tmp_path: Path
) -> None:
    """Bytes are those of the file, after compression."""
    batches = [batch_of(i, i + 10) for i in range(0, 40, 10)]
    options = {"format": "csv", "rotateBytes": 30, "compression": compression}
    rig = await written(tmp_path / "a", *batches, **options)
    assert len(list(rig.target.glob("part-*"))) == 4


@pytest.mark.parametrize(("interval", "parts"), [("2s", 2), ("0", 1)])
async def test_a_part_ends_at_its_age(interval: str, parts: int, tmp_path: Path) -> None:
    """With the first row that comes after it, or at a checkpoint."""
    rig = Rig(tmp_path / "a", {"format": "csv", "rotateInterval": interval})
    sink = rig.sink()
    await sink.open(rig.task(), None)
    await sink.commit(await sink.prepare(0, final=False))
    for i in range(4):
        await sink.write(batch_of(i, i + 1))
        rig.clock.seconds += 1
    await sink.commit(await sink.prepare(1, final=True))
    await sink.close()
    assert len(list(rig.target.glob("part-*"))) == parts


async def test_an_old_part_ends_at_a_checkpoint_without_new_rows(tmp_path: Path) -> None:
    """A quiet source would otherwise hide its last rows for ever."""
    rig = Rig(tmp_path / "a", {"format": "csv", "rotateInterval": "10s"})
    sink = rig.sink()
    await sink.open(rig.task(), None)
    await sink.commit(await sink.prepare(0, final=False))
    await sink.write(batch_of(0, 5))
    rig.clock.seconds += 10
    await sink.commit(await sink.prepare(1, final=False))
    assert rig.visible() == [0, 1, 2, 3, 4]
    await sink.close()


@pytest.mark.parametrize("name", ["a.csv", "a"])
async def test_data_that_is_there_already_is_refused_unless_asked_for(
    name: str, tmp_path: Path
) -> None:
    """Mixing into or dropping somebody's data must be somebody's wish."""
    target = tmp_path / name
    options = {} if "." in name else {"format": "csv"}
    await written(target, batch_of(0, 3), **options)
    with pytest.raises(Rejected, match="choose append or replace") as raised:
        await (second := Rig(target, options).sink()).open(Rig(target).task(), None)
    assert raised.value.field == "options.ifExists"
    await second.close()
    assert Rig(target).visible() == [0, 1, 2]
    assert (await written(target, batch_of(3, 5), **options, ifExists="append")).visible() == [
        *range(5)
    ]
    assert (await written(target, batch_of(7, 9), **options, ifExists="replace")).visible() == [
        7,
        8,
    ]


async def test_replacing_leaves_what_is_no_part_file_alone(tmp_path: Path) -> None:
    """A typing error in the path must not empty somebody's home."""
    (tmp_path / "thesis.doc").write_text("years of work")
    rig = Rig(tmp_path, {"format": "csv", "ifExists": "replace"})
    sink = rig.sink()
    with pytest.raises(Rejected, match=r"thesis\.doc"):
        await sink.open(rig.task(), None)
    await sink.close()
    assert sorted(os.listdir(tmp_path)) == ["thesis.doc"]  # noqa: PTH208 - pathlib would block as well


async def test_an_empty_file_counts_as_absent(tmp_path: Path) -> None:
    """``touch`` and ``mktemp`` make one."""
    (tmp_path / "a.csv").touch()
    assert (await written(tmp_path / "a.csv", batch_of(0, 2))).visible() == [0, 1]


async def test_appending_to_a_half_line_begins_a_new_one(tmp_path: Path) -> None:
    """Their last row and our first would otherwise be one wrong row."""
    (tmp_path / "a.csv").write_text("id,name\n7,seven")
    await written(tmp_path / "a.csv", batch_of(0, 1), ifExists="append")
    text = (tmp_path / "a.csv").read_text()
    assert text == 'id,name\n7,seven\n0,"row 0, with a comma"\n'


async def test_without_rows_a_csv_has_its_header_and_a_directory_nothing(tmp_path: Path) -> None:
    """An empty batch still tells the columns."""
    await written(tmp_path / "a.csv", batch_of(0, 0))
    await written(tmp_path / "a.parquet", batch_of(0, 0))
    await written(tmp_path / "a", batch_of(0, 0), format="csv")
    assert (tmp_path / "a.csv").read_text() == "id,name\n"
    assert pq.read_table(tmp_path / "a.parquet").schema.names == ["id", "name"]
    assert list((tmp_path / "a").iterdir()) == []


async def test_without_any_batch_there_are_no_columns_to_write(tmp_path: Path) -> None:
    """A csv is then an empty file; a parquet file needs columns, so there is none."""
    await written(tmp_path / "a.csv")
    await written(tmp_path / "a.parquet")
    assert (tmp_path / "a.csv").read_bytes() == b""
    assert not (tmp_path / "a.parquet").exists()


async def test_missing_folders_are_made(tmp_path: Path) -> None:
    """A path per day is usual."""
    rig = await written(tmp_path / "2026" / "01" / "a.csv", batch_of(0, 1))
    assert rig.visible() == [0]


@pytest.mark.parametrize(
    "now",
    [
        {"format": "csv", "rotateRows": 3},
        {"format": "json"},
        {"format": "parquet"},
        {"format": "arrow"},
    ],
)
async def test_a_part_of_other_options_is_finished_before_rows_go_on(
    now: dict[str, Any], tmp_path: Path
) -> None:
    """Options may change while a pipeline is stopped; what a part holds may not."""
    rig = Rig(tmp_path / "a", {"format": "csv"})
    await rig.live(final=False, checkpoints=1)
    rig.options = now
    await rig.live()
    assert rig.visible() == [*range(ROWS)]
    assert rig.hidden() == []


async def test_small_batches_are_gathered_to_batch_size(tmp_path: Path) -> None:
    """A call to the formatter costs the same for one row as for a thousand."""
    rig = Rig(tmp_path / "a.csv")
    sink = rig.sink(batch_size=10)
    await sink.open(rig.task(), None)
    await sink.commit(await sink.prepare(0, final=False))
    sizes = []
    for start in range(0, 12, 4):
        await sink.write(batch_of(start, start + 4))
        sizes.append(len(rig.visible()))
    await sink.prepare(1, final=False)
    assert (sizes, len(rig.visible())) == ([0, 0, 12], 12)
    await sink.close()
