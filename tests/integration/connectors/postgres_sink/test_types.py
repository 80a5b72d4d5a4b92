"""Arrow's values become PostgreSQL's, in a table made from them and in one that is there."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from tests.databases import Database
from tests.integration.connectors.postgres_sink.rig import Rig, rows_of

BERLIN = pa.timestamp("us", "Europe/Berlin")
NOON = datetime(2026, 7, 1, 12, 0, 0, 123456, tzinfo=UTC)
IDS = [bytes(range(16)), None]
ID = "00010203-0405-0607-0809-0a0b0c0d0e0f"

# type of the column, values, name of the column's type, values as the server writes them
CASES: dict[str, tuple[pa.DataType, list[Any], str, list[str | None]]] = {
    "int8": (pa.int8(), [-128, 127, None], "smallint", ["-128", "127", None]),
    "int16": (pa.int16(), [-32768], "smallint", ["-32768"]),
    "int32": (pa.int32(), [-(2**31)], "integer", ["-2147483648"]),
    "int64": (pa.int64(), [-(2**63)], "bigint", ["-9223372036854775808"]),
    "uint8": (pa.uint8(), [255], "smallint", ["255"]),
    "uint16": (pa.uint16(), [65535], "integer", ["65535"]),
    "uint32": (pa.uint32(), [2**32 - 1], "bigint", ["4294967295"]),
    "uint64": (pa.uint64(), [2**64 - 1], "numeric(20,0)", ["18446744073709551615"]),
    "float16": (pa.float16(), [1.5], "real", ["1.5"]),
    "float32": (pa.float32(), [0.1, 3.4028234663852886e38], "real", ["0.1", "3.4028235e+38"]),
    "float64": (
        pa.float64(),
        [0.1, float("nan"), float("inf"), float("-inf"), -0.0, 5e-324, None],
        "double precision",
        ["0.1", "NaN", "Infinity", "-Infinity", "-0", "5e-324", None],
    ),
    "bool": (pa.bool_(), [True, False, None], "boolean", ["true", "false", None]),
    "string": (
        pa.string(),
        ["", None, "NULL", "\\N", "\\.", 'a"b', "a\n\\.\nb", "a\r\nb\rc", " x ", "ä😀", ",", "\t"],
        "text",
        ["", None, "NULL", "\\N", "\\.", 'a"b', "a\n\\.\nb", "a\r\nb\rc", " x ", "ä😀", ",", "\t"],
    ),
    "large string": (pa.large_string(), ["x"], "text", ["x"]),
    "string view": (pa.string_view(), ["x", None], "text", ["x", None]),
    "dictionary": (pa.dictionary(pa.int8(), pa.string()), ["a", "", None], "text", ["a", "", None]),
    "binary": (pa.binary(), [b"", b"\x00\xff\\", None], "bytea", ["\\x", "\\x00ff5c", None]),
    "fixed binary": (pa.binary(2), [b"ab"], "bytea", ["\\x6162"]),
    "decimal": (
        pa.decimal128(38, 10),
        [Decimal("1234567890123456789012345678.0123456789"), Decimal("-0.0000000001"), None],
        "numeric(38,10)",
        ["1234567890123456789012345678.0123456789", "-0.0000000001", None],
    ),
    "wide decimal": (
        pa.decimal256(60, 2), [Decimal("1" * 58 + ".25")], "numeric(60,2)", ["1" * 58 + ".25"],
    ),
    "date": (
        pa.date32(), [date(1, 1, 1), date(9999, 12, 31)], "date", ["0001-01-01", "9999-12-31"],
    ),
    "date64": (pa.date64(), [date(2026, 2, 28), None], "date", ["2026-02-28", None]),
    "time": (
        pa.time64("us"), [time(23, 59, 59, 999999)], "time without time zone", ["23:59:59.999999"],
    ),
    "time of seconds": (pa.time32("s"), [time(1, 2, 3)], "time without time zone", ["01:02:03"]),
    "nanosecond of a day": (
        pa.time64("ns"), [86_399_999_999_999], "time without time zone", ["23:59:59.999999"],
    ),
    "timestamp": (
        pa.timestamp("us"),
        [datetime(1, 1, 1), datetime(2026, 7, 1, 12, 0, 0, 123456), None],  # noqa: DTZ001 - has no zone
        "timestamp without time zone",
        ["0001-01-01 00:00:00", "2026-07-01 12:00:00.123456", None],
    ),
    "timestamp of nanoseconds": (
        pa.timestamp("ns"),
        [1_999_999_999_999_999_999],
        "timestamp without time zone",
        ["2033-05-18 03:33:19.999999"],
    ),
    "zoned timestamp": (
        BERLIN, [NOON, None], "timestamp with time zone", ["2026-07-01 12:00:00.123456+00", None],
    ),
    "zoned nanoseconds": (
        pa.timestamp("ns", "UTC"),
        [1_999_999_999_999_999_999],
        "timestamp with time zone",
        ["2033-05-18 03:33:19.999999+00"],
    ),
    "duration": (
        pa.duration("us"),
        [timedelta(days=-1, microseconds=1), timedelta(0), timedelta(days=106751991), None],
        "interval",
        ["-23:59:59.999999", "00:00:00", "2562047784:00:00", None],
    ),
    "uuid": (pa.uuid(), IDS, "uuid", [ID, None]),
    "list": (pa.list_(pa.int64()), [[1, None], [], None], "bigint[]", ["{1,NULL}", "{}", None]),
    "list of texts": (
        pa.large_list(pa.string()),
        [['a"b', "\\", "", "NULL", None, "x,y", "{}"]],
        "text[]",
        ['{"a\\"b","\\\\","","NULL",NULL,"x,y","{}"}'],
    ),
    "list of fixed size": (
        pa.list_(pa.float64(), 2), [[1.5, float("nan")]], "double precision[]", ["{1.5,NaN}"],
    ),
    "list of moments": (
        pa.list_(BERLIN),
        [[NOON]],
        "timestamp with time zone[]",
        ['{"2026-07-01 12:00:00.123456+00"}'],
    ),
    "list of bytes": (pa.list_(pa.binary()), [[b"\x00"]], "bytea[]", ['{"\\\\x00"}']),
    "list of lists": (pa.list_(pa.list_(pa.int64())), [[[1], [2, 3]]], "jsonb", ["[[1], [2, 3]]"]),
    "struct": (
        pa.struct([("a", pa.int64()), ("b", pa.list_(pa.string()))]),
        [{"a": 1, "b": ['"', None]}, None],
        "jsonb",
        ['{"a": 1, "b": ["\\"", null]}', None],
    ),
    "map": (
        pa.map_(pa.string(), pa.int64()),
        [[("a", 1), ('q"', None)], [], None],
        "jsonb",
        ['{"a": 1, "q\\"": null}', "{}", None],
    ),
    "null": (pa.null(), [None], "text", [None]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
async def test_a_column_is_made_for_a_type_and_holds_its_values(
    name: str, database: Database
) -> None:
    """The table of types is a promise; extremes are where it would break."""
    kind, values, made, expected = CASES[name]
    batch = rows_of(n=[*range(len(values))], v=pa.array(values, kind))
    refused = await Rig(database.url, {"create": True}).write(batch)
    types = database.column(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = 'rows'::regclass AND attname = 'v'"
    )
    database.execute("SET extra_float_digits = 1; SET TimeZone = 'UTC'")
    found = database.column("SELECT v::text FROM rows ORDER BY n")
    assert (refused, types, found) == ({}, [made], expected)


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("jsonb", pa.array(['{"a": [1, null]}', None]), ['{"a": [1, null]}', None]),
        ("json", pa.array([[1, 2], None]), ["[1,2]", None]),
        ("uuid", pa.array([ID]), [ID]),
        ("uuid", pa.array(IDS, pa.binary(16)), [ID, None]),
        ("numeric", pa.array(["1e3", "NaN"]), ["1000", "NaN"]),
        ("text", pa.array([1, None]), ["1", None]),
        ("inet", pa.array(["10.0.0.1"]), ["10.0.0.1/32"]),
        ("mood", pa.array(["happy", None]), ["happy", None]),
        ("timestamptz", pa.array([datetime(2026, 1, 1)]), ["2026-01-01 00:00:00+00"]),  # noqa: DTZ001 - has no zone
        ("timestamp", pa.array([NOON], BERLIN), ["2026-07-01 12:00:00.123456"]),
        ("integer", pa.array([1.0, 2.0]), ["1", "2"]),
    ],
)  # fmt: skip
async def test_a_column_that_is_there_reads_values_as_its_own_type(
    column: str, values: pa.Array[Any], expected: list[str | None], database: Database
) -> None:
    """Tables have types that Arrow has not; the server reads them from text."""
    database.execute(
        "CREATE TYPE mood AS ENUM ('happy');"
        f"CREATE TABLE rows (n serial, v {column}); SET TimeZone = 'UTC'"
    )
    refused = await Rig(database.url, {}).write(rows_of(v=values))
    assert (refused, database.column("SELECT v::text FROM rows ORDER BY n")) == ({}, expected)
