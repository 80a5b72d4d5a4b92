"""What each format makes of each kind of value."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dataflow.connect import Rejected
from tests.unit.connectors.file_sink.rig import arrow_table
from tests.unit.connectors.file_sink.test_options import written

MOMENT = datetime(2026, 3, 1, 12, 30, 1, 250_000)  # noqa: DTZ001 - of no zone, on purpose
KINDS: dict[str, tuple[pa.DataType, Any, str, Any]] = {
    "bool": (pa.bool_(), True, "true", True),
    "int64": (pa.int64(), -(2**63), str(-(2**63)), -(2**63)),
    "uint64": (pa.uint64(), 2**64 - 1, str(2**64 - 1), 2**64 - 1),
    "float64": (pa.float64(), 0.1, "0.1", 0.1),
    "large float": (pa.float64(), 1e300, "1e+300", 1e300),
    "nan": (pa.float64(), float("nan"), "NaN", None),
    "inf": (pa.float64(), float("-inf"), "-inf", None),
    "decimal": (pa.decimal128(10, 2), Decimal("1.50"), "1.50", "1.50"),
    "string": (pa.string(), 'a "b", c', '"a ""b"", c"', 'a "b", c'),
    "large_string": (pa.large_string(), "line\nbreak", '"line\nbreak"', "line\nbreak"),
    "unicode": (pa.string(), "é中🐍", "é中🐍", "é中🐍"),
    "empty": (pa.string(), "", '""', ""),
    "binary": (pa.binary(), b"\xff\x00", "/wA=", "/wA="),
    "date": (pa.date32(), date(2026, 3, 1), "2026-03-01", "2026-03-01"),
    "time": (pa.time64("us"), time(1, 2, 3), "01:02:03.000000000", "01:02:03"),
    "moment": (
        pa.timestamp("us"), MOMENT, "2026-03-01T12:30:01.250000", "2026-03-01T12:30:01.250000"
    ),
    "zoned": (
        pa.timestamp("us", "Europe/Berlin"), MOMENT.replace(tzinfo=ZoneInfo("Europe/Berlin")),
        "2026-03-01T12:30:01.250000+01:00", "2026-03-01T12:30:01.250+01:00",
    ),
    "duration": (pa.duration("us"), timedelta(seconds=90), "PT1M30S", "PT1M30S"),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), "x", "x", "x"),
    "list": (pa.list_(pa.int64()), [1, None], '"[1,null]"', [1, None]),
    "list of bytes": (pa.list_(pa.binary()), [b"x"], '"[""eA==""]"', ["eA=="]),
    "struct": (
        pa.struct([("a", pa.binary()), ("b", pa.list_(pa.string()))]), {"a": b"x", "b": ["y"]},
        '"{""a"":""eA=="",""b"":[""y""]}"', {"a": "eA==", "b": ["y"]},
    ),
    "moment in a list": (
        pa.list_(pa.timestamp("us")), [MOMENT],
        '"[""2026-03-01T12:30:01.250000""]"', ["2026-03-01T12:30:01.250000"],
    ),
}  # fmt: skip


def column(kind: pa.DataType, *values: Any) -> pa.RecordBatch:  # noqa: ANN401 - any value
    """Return rows of one kind, beside a column that is never null."""
    return pa.record_batch({"n": pa.array(range(len(values))), "v": pa.array(values, kind)})


@pytest.mark.parametrize("name", KINDS)
async def test_csv_writes_each_kind(name: str, tmp_path: Path) -> None:
    """Nested values are JSON text, bytes base64, moments ISO 8601; null is nothing at all."""
    kind, value, text, _ = KINDS[name]
    await written(tmp_path / "a.csv", column(kind, value, None), header=False)
    assert (tmp_path / "a.csv").read_text() == f"0,{text}\n1,\n"


@pytest.mark.parametrize("name", KINDS)
async def test_json_writes_each_kind(name: str, tmp_path: Path) -> None:
    """JSON has no NaN, no infinity, no decimals and no bytes: the first two are null."""
    kind, value, _, shown = KINDS[name]
    await written(tmp_path / "a.json", column(kind, value, None))
    lines = [json.loads(line) for line in (tmp_path / "a.json").read_text().splitlines()]
    assert lines == [{"n": 0, "v": shown}, {"n": 1, "v": None}]


@pytest.mark.parametrize("name", [name for name in KINDS if name != "dictionary"])
async def test_parquet_and_arrow_keep_each_kind(name: str, tmp_path: Path) -> None:
    """Type and value come back as they were."""
    kind, value, _, _ = KINDS[name]
    batch = column(kind, value, None)
    await written(tmp_path / "a.parquet", batch)
    await written(tmp_path / "a.arrow", batch)
    for found in (pq.read_table(tmp_path / "a.parquet"), arrow_table(tmp_path / "a.arrow")):
        assert found.schema == batch.schema
        assert str(found.to_pylist()) == str(batch.to_pylist())


async def test_zoned_and_unzoned_moments_stand_side_by_side(tmp_path: Path) -> None:
    """Polars takes one format for all columns; the zone must not be lost or invented."""
    utc = MOMENT.replace(tzinfo=UTC)
    batch = pa.record_batch(
        {
            "a": pa.array([MOMENT], pa.timestamp("ms")),
            "b": pa.array([utc], pa.timestamp("ns", "UTC")),
        }
    )
    await written(tmp_path / "a.csv", batch, header=False)
    assert (tmp_path / "a.csv").read_text() == (
        "2026-03-01T12:30:01.250,2026-03-01T12:30:01.250000000+00:00\n"
    )


@pytest.mark.parametrize("name", ["a.csv", "a.json"])
@pytest.mark.parametrize(
    "kind", [pa.decimal256(40, 2), pa.map_(pa.string(), pa.int64()), pa.list_(pa.decimal256(40, 2))]
)
async def test_a_column_that_text_cannot_hold_is_named(
    name: str, kind: pa.DataType, tmp_path: Path
) -> None:
    """Polars would panic on some of these, with a stack trace instead of a remedy."""
    with pytest.raises(Rejected, match=r"column 'v' is .* map transform"):
        await written(tmp_path / name, column(kind, None))


async def test_text_writes_one_column(tmp_path: Path) -> None:
    """Null is an empty line, and nothing is quoted."""
    batch = pa.record_batch({"a": ['x, "y"', None, "z"], "b": [1, 2, 3]})
    await written(tmp_path / "a.txt", batch, column="a")
    assert (tmp_path / "a.txt").read_text() == 'x, "y"\n\nz\n'


@pytest.mark.parametrize(
    ("batch", "options", "told"),
    [
        (pa.record_batch({"a": ["x"], "b": ["y"]}), {}, "options.column: missing; say which of"),
        (pa.record_batch({"a": ["x"]}), {"column": "c"}, "no column 'c', there are a"),
        (pa.record_batch({"a": [1]}), {}, "column 'a' is int64; cast it to string"),
        (pa.record_batch({"a": ["x", "y\nz"]}), {}, "the value in row 1 of the batch has a line"),
    ],
)
async def test_text_refuses_what_it_cannot_hold(
    batch: pa.RecordBatch, options: dict[str, Any], told: str, tmp_path: Path
) -> None:
    """A line break would make two rows of one."""
    with pytest.raises(Rejected, match=told):
        await written(tmp_path / "a.txt", batch, **options)


async def test_batches_may_store_text_in_different_ways(tmp_path: Path) -> None:
    """A source gives large_string, a transform string; to a reader they are one column."""
    first, second = column(pa.string(), "x"), column(pa.large_string(), "y")
    for name in ("a.csv", "a.parquet"):
        await written(tmp_path / name, first, second)
    assert pq.read_table(tmp_path / "a.parquet")["v"].to_pylist() == ["x", "y"]
    assert (tmp_path / "a.csv").read_text() == "n,v\n0,x\n0,y\n"


CHANGED = (column(pa.int64(), 1), pa.record_batch({"v": [1], "n": ["x"]}))


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.arrow"])
async def test_one_file_refuses_other_columns(name: str, tmp_path: Path) -> None:
    """Rows of other columns below the same header would be read as something else."""
    with pytest.raises(Rejected, match=r"n \(int64 -> string\).*ifExists: replace") as raised:
        await written(tmp_path / name, *CHANGED)
    assert raised.value.code == "SINK_CHANGED"


async def test_one_csv_refuses_columns_in_another_order(tmp_path: Path) -> None:
    """The names are written once; the values below would swap."""
    batch = column(pa.int64(), 1)
    with pytest.raises(Rejected, match="their order"):
        await written(tmp_path / "a.csv", batch, batch.select(["v", "n"]))


async def test_a_directory_begins_a_new_part_for_other_columns(tmp_path: Path) -> None:
    """Each part has one header."""
    rig = await written(tmp_path / "a", *CHANGED, format="csv")
    assert [p.read_text() for p in sorted(rig.target.glob("part-*"))] == [
        "n,v\n0,1\n",
        "v,n\n1,x\n",
    ]


async def test_json_takes_any_columns(tmp_path: Path) -> None:
    """Every line names its own."""
    await written(tmp_path / "a.json", *CHANGED)
    assert (tmp_path / "a.json").read_text() == '{"n":0,"v":1}\n{"v":1,"n":"x"}\n'
