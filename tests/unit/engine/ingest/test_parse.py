"""What becomes of a payload: rows, or an error that names the record and the field."""

from __future__ import annotations

import re
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from dataflow.connect.batches import one_batch, type_name
from dataflow.connect.columns import COLUMNS_MAX
from dataflow.core.errors import Code, Rejected
from dataflow.engine.ingest import columns, infer_json, parse_json
from dataflow.engine.ingest.columns import Misfit
from dataflow.engine.ingest.parse import parse
from dataflow.engine.ingest.pushed import Parsed
from dataflow.engine.ingest.rows import read_schema

JSON = "application/json"
NDJSON = "application/x-ndjson"
ARROW = "application/vnd.apache.arrow.stream"


def read(parsed: Parsed) -> list[dict[str, Any]]:
    """Return the rows that would be stored."""
    batch = pa.ipc.read_record_batch(pa.py_buffer(parsed.body), read_schema(parsed.schema))
    assert batch.num_rows == parsed.records
    return batch.to_pylist()


def types(parsed: Parsed) -> dict[str, str]:
    """Return the columns as people write them."""
    return {f.name: type_name(f.type) for f in read_schema(parsed.schema)}


def stream(batch: pa.RecordBatch, compression: Literal["zstd", "lz4"] | None = None) -> bytes:
    """Return a batch as an Arrow IPC stream."""
    out = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(out, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    return out.getvalue().to_pybytes()


@pytest.mark.parametrize(
    ("content_type", "payload"),
    [
        (NDJSON, b'{"a": 1, "b": "x"}\n{"a": 2}\n'),
        (NDJSON, b'\r\n {"a": 1, "b": "x"} \r\n\r\n{"a": 2}'),
        (JSON, b'[{"a": 1, "b": "x"}, {"a": 2}]'),
        (JSON, b' [\n{"a": 1,\n "b": "x"},\n {"a": 2}\n]\n'),
    ],
)
def test_both_forms_of_json_give_the_same_rows(content_type: str, payload: bytes) -> None:
    """White space means nothing, and a field that is missing is null."""
    assert read(parse(content_type, payload, {}, None)) == [
        {"a": 1, "b": "x"},
        {"a": 2, "b": None},
    ]


def test_declared_types_are_what_is_stored() -> None:
    """Moments and bytes stand in JSON as text."""
    declared = {
        "at": "timestamptz",
        "day": "date",
        "price": "decimal(30, 2)",
        "raw": "bytes",
        "small": "int8",
        "tags": "list<string>",
        "inner": "struct<at: timestamp, n: int64>",
    }
    payload = (
        b'{"at": "2026-01-02T03:04:05Z", "day": "2026-01-02", "price": 1234567890123456789012.34,'
        b' "raw": "abc", "small": 5, "tags": ["x", null],'
        b' "inner": {"at": "2026-01-02 03:04:05.5", "n": 1}}'
    )
    for content_type, body in ((NDJSON, payload), (JSON, b"[" + payload + b"]")):
        parsed = parse(content_type, body, declared, None)
        (row,) = read(parsed)
        assert str(row["price"]) == "1234567890123456789012.34"
        assert row["at"].isoformat() == "2026-01-02T03:04:05+00:00"
        assert row["inner"]["at"].microsecond == 500_000
        assert row["raw"] == b"abc"
        assert set(types(parsed)) == set(declared)


def test_types_of_a_first_batch_are_those_of_json() -> None:
    """A moment stays text: the next batch may hold what is none. Only nulls are text too."""
    payload = (
        b'{"i": 1, "f": 1, "s": "2026-01-02", "b": true, "n": null, "l": [], "o": {"x": null}}\n'
        b'{"i": 2, "f": 1.5, "s": "2026-01-02T00:00:00Z", "l": [1], "o": {"y": [null]}}'
    )
    assert types(parse(NDJSON, payload, {}, None)) == {
        "i": "int64",
        "f": "float64",
        "s": "string",
        "b": "bool",
        "n": "string",
        "l": "list<int64>",
        "o": "struct<x: string, y: list<string>>",
    }


def test_many_records_are_inferred_in_parts_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Parts bound the columns that one record can give to all; 1 and 1.5 are both float64."""
    payload = b'{"a": 1}\n{"a": null, "t": "2026-01-02"}\n{"a": 1.5}\n{"t": "x"}'
    whole = types(parse(NDJSON, payload, {}, None))
    monkeypatch.setattr(infer_json, "CELLS_MAX", 3)
    assert types(parse(NDJSON, payload, {}, None)) == whole == {"a": "float64", "t": "string"}
    with pytest.raises(Rejected, match=r"records\[2\]: a field is of two types"):
        parse(NDJSON, b'{"a": 1}\n{"a": 2}\n{"a": "x"}\n{"a": "y"}', {}, None)


STORED = parse(NDJSON, b'{"n": 1, "s": "x", "o": {"k": 1}}', {}, None).schema

BAD = [
    (b'{"n": "x"}', 'records[1].n: expected int64, found "x"'),
    (b'{"n": 1.5}', "records[1].n: expected int64, found 1.5"),
    (b'{"n": 99999999999999999999}', "records[1].n: expected int64, found 1e+20"),
    (b'{"s": 5}', "records[1].s: expected string, found 5"),
    (b'{"o": {"k": "x"}}', 'records[1].o: expected struct<k: int64>, found {"k":"x"}'),
    (b'{"o": {"z": 1}}', 'records[1].o: expected struct<k: int64>, found {"z":1}'),
    (b'{"z": 1}', "records[1].z: unknown field; the source has n: int64, s: string, o: struct<"),
]


@pytest.mark.parametrize("content_type", [NDJSON, JSON])
@pytest.mark.parametrize(("record", "message"), BAD)
def test_a_record_that_does_not_fit_is_named(
    content_type: str, record: bytes, message: str
) -> None:
    """The first of them, with its number in the batch; nothing of the batch is taken."""
    records = [b'{"n": 1}', record, b'{"n": 2}', record]
    array = content_type == JSON
    payload = b"[" + b",".join(records) + b"]" if array else b"\n".join(records)
    with pytest.raises(Rejected, match=re.escape(message)) as refused:
        parse(content_type, payload, {}, STORED)
    assert refused.value.code is Code.RECORD_REJECTED
    assert "nothing of the batch was taken" in str(refused.value)


@pytest.mark.parametrize("stored", [None, STORED])
@pytest.mark.parametrize(
    ("content_type", "payload", "message"),
    [
        (NDJSON, b'{"n": 1}\n5', "records[1]: expected an object, not a number"),
        (NDJSON, b'null\n{"n": 1}', "records[0]: expected an object, not null"),
        (NDJSON, b'{"n": 1}\n[{"n": 2}]', "records[1]: expected an object, not an array"),
        (NDJSON, b'{"n": 1}{"n": 2}', "records[0]: not a JSON object: "),
        (NDJSON, b'{"n":\n1}', "records[0]: not a JSON object: "),
        (NDJSON, b'{"n": 1},\n{"n": 2}', "records[0]: not a JSON object: "),
        (NDJSON, b'{"s": "\\ud800"}', "records[0]: not a JSON object: "),
        (NDJSON, b'{"n": 1}\n{"s": "\xff"}', "records[1]: not a JSON object: "),
        (NDJSON, b'{"n": 1}\n{"n": 2', "records[1]: not a JSON object: "),
        (NDJSON, b'{"o": ' * 5000 + b"1" + b"}" * 5000, "records[0]"),
        (JSON, b'[{"n": 1}, null]', "records[1]: expected an object, not null"),
        (JSON, b'[{"n": 1}, "x"]', "records[1]: expected an object, not a text"),
        (JSON, b'[{"n": 1}, true]', "records[1]: expected an object, not a truth value"),
        (JSON, b'{"n": 1}', "records[0]: expected an array of objects, not an object"),
        (JSON, b'[{"n": 1}]}{"r":[{"n": 2}]', "records[0]: not a JSON array of objects: "),
        (JSON, b'[{"n": 1}],"r":[{"n": 2}]', "records[0]: not a JSON array of objects: "),
        (JSON, b'[{"n": 1}', "records[0]: not a JSON array of objects: "),
        (JSON, b'[{"s": "\xff"}]', "records[0]: not a JSON array of objects: "),
        (ARROW, b"", "records[0]: not an Arrow IPC stream: "),
        (ARROW, b"nonsense" * 20, "records[0]: not an Arrow IPC stream: "),
    ],
)
def test_what_is_no_record_is_refused(
    content_type: str, payload: bytes, message: str, stored: bytes | None
) -> None:
    """Whether it is the first batch or not, and never by a crash."""
    with pytest.raises(Rejected, match=re.escape(message)):
        parse(content_type, payload, {}, stored)


@pytest.mark.parametrize("content_type", [NDJSON, JSON])
@pytest.mark.parametrize("number", ["Infinity", "-Inf", "NaN", "[1.5, NaN]", '{"x": Infinity}'])
def test_a_number_that_json_has_not_is_refused(content_type: str, number: str) -> None:
    """Arrow takes it, and no other reader of JSON does; also where the type is declared."""
    of = {"[": "list<float64>", "{": "struct<x: float64>"}.get(number[0], "float64")
    record = f'{{"f": {number}}}'.encode()
    payload = b"[" + record + b"]" if content_type == JSON else record
    with pytest.raises(Rejected, match=re.escape("records[0]")) as refused:
        parse(content_type, payload, {"f": of}, None)
    assert refused.value.code is Code.RECORD_REJECTED


@pytest.mark.parametrize(
    ("of", "text", "remedy"),
    [
        ("timestamp", "2026-01-01T00:00:00Z", "declare timestamptz, or leave out the zone"),
        ("timestamp", "2026-01-01T00:00:00+02:00", "declare timestamptz, or leave out the zone"),
        ("timestamptz", "2026-01-01T00:00:00", "add one, such as Z, or declare timestamp"),
    ],
)
def test_a_moment_with_the_wrong_zone_is_told_the_remedy(of: str, text: str, remedy: str) -> None:
    """The value looks right, so its type alone explains nothing."""
    payload = f'{{"t": "{text}"}}'.encode()
    with pytest.raises(Rejected, match=re.escape(remedy)) as refused:
        parse(NDJSON, payload, {"t": of}, None)
    assert refused.value.field == "records[0].t"


def test_no_zone_is_blamed_for_what_is_no_moment() -> None:
    """The remedy would not help."""
    with pytest.raises(Rejected) as refused:
        parse(NDJSON, b'{"t": "yesterday"}', {"t": "timestamp"}, None)
    assert "zone" not in str(refused.value)


def test_a_field_given_twice_is_refused() -> None:
    """Which of the two was meant nobody knows."""
    for stored in (None, STORED):
        with pytest.raises(Rejected, match=r"records\[1\]: .*(twice)"):
            parse(NDJSON, b'{"n": 1}\n{"n": 1, "n": 2}', {}, stored)
    with pytest.raises(Rejected, match=r"records\[0\]: .*twice"):
        parse(NDJSON, b'{"n": 1, "n": 2}\n{"n": 1}', {}, None)
    with pytest.raises(Rejected, match=r"records\[0\]: .*twice"):
        parse(JSON, b'[{"n": 1, "n": 2}]', {}, STORED)


def test_a_first_batch_that_contradicts_itself_names_the_record() -> None:
    """New fields of that record are no contradiction."""
    payload = b'{"a": 1}\n{"a": 2}\n{"new": 1, "a": "x"}\n{"a": "y"}'
    with pytest.raises(Rejected, match=r"records\[2\].a: expected int64, found \"x\""):
        parse(NDJSON, payload, {}, None)


@pytest.mark.parametrize(
    ("content_type", "payload"),
    [(NDJSON, b""), (NDJSON, b" \n\n"), (JSON, b"[]"), (ARROW, None)],
)
def test_a_batch_without_records_is_refused(content_type: str, payload: bytes | None) -> None:
    """There is nothing to remember its id by."""
    empty = one_batch(pa.schema([("n", pa.int64())]).empty_table())
    body = stream(empty) if payload is None else payload
    with pytest.raises(Rejected, match="the batch holds no records"):
        parse(content_type, body, {"n": "int64"}, None)


def test_a_first_batch_must_name_a_field() -> None:
    """Columns cannot come later."""
    with pytest.raises(Rejected, match="names no field, and the source declares no schema"):
        parse(NDJSON, b"{}", {}, None)
    for content_type, payload in ((NDJSON, b""), (JSON, b"[]")):
        with pytest.raises(Rejected, match="the batch holds no records"):
            parse(content_type, payload, {}, None)


def test_other_declared_types_than_the_logs_are_refused() -> None:
    """Records of two schemas cannot be one source's."""
    with pytest.raises(Rejected, match=r"source.options.schema: .* has n: int64, .* declares n: s"):
        parse(NDJSON, b'{"n": 1}', {"n": "string"}, STORED)


@pytest.mark.parametrize(
    ("payload", "limit", "message"),
    [
        (b'{"n": 1}\n' * 10, 20, "10 objects of 3 fields are more than a batch may hold"),
        (b'{"n": "x"}\n' * 5, 15, "11 objects, lists and lines are more"),
    ],
)
def test_small_on_its_way_and_large_in_memory_is_refused(
    payload: bytes, limit: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record without fields costs as much as one with all."""
    monkeypatch.setattr(parse_json, "CELLS_MAX", limit)
    monkeypatch.setattr(parse_json, "VALUES_MAX", 9)
    with pytest.raises(Rejected, match=message) as refused:
        parse(NDJSON, payload + b"\n", {}, STORED)
    assert refused.value.code is Code.TOO_LARGE


def test_a_record_with_endless_fields_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every field is a column."""
    wide = b"{" + b",".join(b'"f%d":1' % n for n in range(COLUMNS_MAX + 1)) + b"}"
    with pytest.raises(Rejected, match="10001 fields are more than the 10000"):
        parse(NDJSON, wide, {}, None)
    monkeypatch.setattr(infer_json, "VALUES_MAX", 10_000)
    with pytest.raises(Rejected, match="10001 fields are more than a record may have"):
        parse(NDJSON, wide, {}, None)


def test_lists_in_one_another_have_an_end() -> None:
    """Arrow's format ends at 64, and its inference ends the process at 20,000."""
    payload = b'{"a": ' + b"[" * 40 + b"1" + b"]" * 40 + b"}"
    with pytest.raises(Rejected, match="more than 32 deep"):
        parse(NDJSON, payload, {}, None)


def test_a_batch_has_a_limit_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times what it may take on its way."""
    monkeypatch.setattr("dataflow.engine.ingest.parse.STORED_BYTES_MAX", 100)
    with pytest.raises(Rejected, match="more than a batch may; send fewer records"):
        parse(NDJSON, b'{"n": 1}\n' * 20, {}, None)


# --- Arrow -----------------------------------------------------------------------------------


def test_arrow_comes_in_many_forms_and_is_stored_in_one() -> None:
    """Texts are texts, whichever way a sender's library keeps them."""
    batch = pa.record_batch(
        {
            "n": pa.array([1, 2, None], pa.int64()),
            "large": pa.array(["x", None, "z"], pa.large_string()),
            "view": pa.array(["x", None, "a longer text than fits"], pa.string_view()),
            "dictionary": pa.array(["x", None, "x"]).dictionary_encode(),
            "numbers": pa.array([7, None, 7]).dictionary_encode(),
            "null": pa.nulls(3),
            "bytes": pa.array([b"x", None, b"z"], pa.large_binary()),
        }
    )
    parsed = parse(ARROW, stream(batch), {}, None)
    assert read(parsed) == batch.to_pylist()
    assert types(parsed) == {
        "n": "int64",
        "large": "string",
        "view": "string",
        "dictionary": "string",
        "numbers": "int64",
        "null": "string",
        "bytes": "bytes",
    }
    again = parse(ARROW, stream(batch.slice(1)), {}, parsed.schema)
    assert read(again) == batch.slice(1).to_pylist()
    assert again.schema == parsed.schema


def test_arrow_columns_are_matched_by_name() -> None:
    """Another order is fine, and a column that is missing is null."""
    batch = pa.record_batch({"s": pa.array(["x"], pa.large_string())})
    assert read(parse(ARROW, stream(batch), {}, STORED)) == [{"n": None, "s": "x", "o": None}]


@pytest.mark.parametrize(
    ("given", "of"),
    [
        (pa.array([1], pa.int8()), "int64"),
        (pa.array([1.5], pa.float32()), "float64"),
        (pa.array([1_000], pa.timestamp("ns")), "timestamp"),
        (pa.array([1], pa.timestamp("ns", "UTC")), "timestamp(ns, 'UTC')"),
    ],
)
def test_a_narrower_type_is_widened(given: pa.Array[Any], of: str) -> None:
    """Nothing is lost by it."""
    parsed = parse(ARROW, stream(pa.record_batch({"c": given})), {"c": of}, None)
    assert types(parsed) == {"c": of}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"c": pa.array([1, 2, 300])}, "records[2].c: expected int8: "),
        ({"c": pa.array(["1"])}, "records[0].c: expected int8, the stream has string"),
        ({"c": pa.array([1.0])}, "records[0].c: expected int8, the stream has float64"),
        ({"t": pa.array([1500, 1], pa.timestamp("ns"))}, "records[0].t: expected timestamp: "),
        (
            {"t": pa.array([1], pa.timestamp("us", "UTC"))},
            "records[0].t: expected timestamp, the stream has timestamp(us, 'UTC')",
        ),
        ({"z": pa.array([1])}, "records[0].z: unknown field; the source has c: int8, t: timestamp"),
    ],
)
def test_arrow_that_does_not_fit_is_named(given: dict[str, Any], message: str) -> None:
    """By the record where a value is at fault, else by the column."""
    payload = stream(pa.record_batch(given))
    with pytest.raises(Rejected, match=re.escape(message)):
        parse(ARROW, payload, {"c": "int8", "t": "timestamp"}, None)


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (pa.map_(pa.string(), pa.int64()), "a log cannot have columns of type map"),
        (pa.list_view(pa.int64()), "a log cannot have columns of type list_view"),
        (pa.list_(pa.dictionary(pa.int8(), pa.string())), "send plain texts and lists within"),
        (pa.struct([("x", pa.string_view())]), "send plain texts and lists within"),
        (pa.list_(pa.struct([("x", pa.binary_view())])), "send plain texts and lists within"),
    ],
)
def test_types_whose_size_nobody_can_tell_are_refused(of: pa.DataType, message: str) -> None:
    """Values that share their bytes may be small on their way and endless in memory."""
    payload = stream(pa.record_batch({"c": pa.array([None], of)}))
    with pytest.raises(Rejected, match=r"records\[0\].c: " + message):
        parse(ARROW, payload, {}, None)


def test_a_dictionary_of_lists_is_refused() -> None:
    """Its entries would have to be counted one by one."""
    entries = pa.array([["x"]])
    shared = pa.DictionaryArray.from_arrays(pa.array([0, 0], pa.int8()), entries)
    with pytest.raises(Rejected, match="send plain texts and lists within"):
        parse(ARROW, stream(pa.record_batch({"c": shared})), {}, None)


@pytest.mark.parametrize("kind", ["dictionary", "view"])
def test_a_text_that_is_shared_counts_each_time(kind: str) -> None:
    """A million records of one megabyte fit into two when it is stored once."""
    text, rows = "x" * (1 << 20), 100
    if kind == "dictionary":
        entries = pa.array([text])
        shared: Any = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), entries)
    else:
        one = pa.array([text], pa.string_view())
        _, view, data = one.buffers()
        assert view is not None
        views = pa.py_buffer(view.to_pybytes() * rows)
        shared = pa.Array.from_buffers(pa.string_view(), rows, [None, views, data])
    payload = stream(pa.record_batch({"c": shared}))
    assert len(payload) < 2 << 20
    with pytest.raises(Rejected, match="the texts of column 'c' are more than") as refused:
        parse(ARROW, payload, {}, None)
    assert refused.value.code is Code.TOO_LARGE


def test_rows_without_bytes_are_counted() -> None:
    """A column of nulls takes none, however long it is."""
    payload = stream(pa.record_batch({"c": pa.nulls(20 << 20)}))
    with pytest.raises(Rejected, match="records of 1 fields are more than"):
        parse(ARROW, payload, {}, None)


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_compressed_buffers_are_refused(codec: Literal["zstd", "lz4"]) -> None:
    """Nothing says what they become. Those that are too small to compress are marked too."""
    batch = pa.record_batch({"c": pa.array(["x" * 1000] * 1000)})
    with pytest.raises(Rejected, match="send the stream without compression of its buffers"):
        parse(ARROW, stream(batch, compression=codec), {}, None)


@pytest.mark.parametrize("name", ["__ordinal", "__error"])
def test_names_that_the_engine_uses_are_refused(name: str) -> None:
    """It adds such columns to every batch."""
    for content_type, payload in (
        (NDJSON, b'{"%s": 1}' % name.encode()),
        (ARROW, stream(pa.record_batch({name: [1]}))),
    ):
        with pytest.raises(Rejected, match=f"{name}: the name is taken"):
            parse(content_type, payload, {}, None)


def test_two_columns_of_one_name_are_refused() -> None:
    """In the first stream and in a later one."""
    twice = pa.RecordBatch.from_arrays([pa.array([1]), pa.array([2])], names=["n", "n"])
    for stored in (None, STORED):
        with pytest.raises(Rejected, match=r"records\[0\].n: two columns have this name"):
            parse(ARROW, stream(twice), {}, stored)


def test_a_stream_whose_buffers_lie_is_refused() -> None:
    """Offsets that point outside of the data would be read as they stand."""
    batch = pa.record_batch({"c": pa.array(["abc", "def", "ghi"])})
    payload = bytearray(stream(batch))
    at = payload.find(b"\x00\x00\x00\x00\x03\x00\x00\x00\x06\x00\x00\x00\x09\x00\x00\x00")
    assert at > 0
    payload[at + 4 : at + 8] = (1 << 30).to_bytes(4, "little")
    with pytest.raises(Rejected, match="not an Arrow IPC stream"):
        parse(ARROW, bytes(payload), {}, None)


def test_a_long_list_of_columns_is_shortened() -> None:
    """An error is to be read."""
    wide = pa.schema([(f"c{n}", pa.int64()) for n in range(30)])
    assert columns.shown(wide).endswith("c19: int64 and 10 more")


def test_depth_counts_an_arrow_first_batch_too() -> None:
    """Senders' libraries nest as they like."""
    of: pa.DataType = pa.int64()
    for _ in range(40):
        of = pa.list_(of)
    with pytest.raises(Rejected, match="more than 32 deep"):
        parse(ARROW, stream(pa.record_batch({"c": pa.array([None], of)})), {}, None)


def test_values_are_kept_exactly() -> None:
    """Numbers at their limits, texts with everything."""
    batch = pa.record_batch(
        {
            "n": pa.array([2**63 - 1, -(2**63)]),
            "f": pa.array([float("inf"), -0.0]),
            "s": pa.array(["\x00 \U0001f600", ""]),
        }
    )
    parsed = parse(ARROW, stream(batch), {}, None)
    found = pa.RecordBatch.from_pylist(read(parsed), read_schema(parsed.schema))
    assert all(pc.all(pc.equal(found.column(i), batch.column(i))).as_py() for i in range(3))


def test_a_misfit_without_a_field_names_the_record() -> None:
    """The path is that of the record."""
    assert Misfit("wrong", record=3).rejected().field == "records[3]"
