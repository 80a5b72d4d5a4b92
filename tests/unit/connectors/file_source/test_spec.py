"""What the options mean, and which of them are refused."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from dataflow.connect import Rejected, SourceStep
from dataflow.connect.spec import parse
from dataflow.connectors.file.source_options import (
    FileSourceOptions,
    compression_of,
    format_of,
    local_path,
)
from dataflow.connectors.file.source_spec import SPEC


def options(**given: object) -> FileSourceOptions:
    """Return options from their JSON."""
    return parse(FileSourceOptions, json.dumps(given))


def problems(connection: str, **given: object) -> list[str]:
    """Return the fields that are refused."""
    step = SourceStep("file", connection)
    return [problem.field for problem in SPEC.check(step, options(**given))]


def test_a_spec_is_known_without_arrow() -> None:
    """An idle process that only checks pipelines must not hold Arrow."""
    script = (
        "import sys, dataflow.connectors.file.source_spec;"
        " print(*sorted({'polars', 'pyarrow'} & set(sys.modules)))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.split() == []


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"fromat": "csv"}, "options.fromat"),
        ({"format": "cvs"}, "options.format"),
        ({"delimiter": ";;"}, "options.delimiter"),
        ({"delimiter": "\n"}, "options.delimiter"),
        ({"delimiter": "\0"}, "options.delimiter"),
        ({"quote": ","}, "options.quote"),
        ({"quote": "\0"}, "options.quote"),
        ({"encoding": "utf-9"}, "options.encoding"),
        ({"encoding": "base64"}, "options.encoding"),
        ({"encoding": "idna"}, "options.encoding"),
        ({"encoding": "punycode"}, "options.encoding"),
        ({"encoding": "undefined"}, "options.encoding"),
        ({"encoding": "unicode_escape"}, "options.encoding"),
        ({"encoding": "raw_unicode_escape"}, "options.encoding"),
        ({"encoding": "utf\0"}, "options.encoding"),
        ({"inferRows": 0}, "options.inferRows"),
        ({"otherColumns": "keep"}, "options.otherColumns"),
        ({"schema": [{"name": "a"}]}, "options.schema"),
        ({"schema": [{"name": "a", "type": "int"}] * 2}, "options.schema"),
    ],
)
def test_an_option_that_is_wrong_is_named(given: dict[str, object], field: str) -> None:
    """A typing error must not wait for the first row to show."""
    with pytest.raises(Rejected) as refused:
        options(**given)
    assert [problem.field for problem in refused.value.problems] == [field]


@pytest.mark.parametrize(
    ("connection", "given", "field"),
    [
        ("", {}, "connectionString"),
        ("s3://bucket/a.csv", {}, "connectionString"),
        ("/a\0.csv", {}, "connectionString"),
        ("file:///a%00.csv", {}, "connectionString"),
        ("file://host/a.csv", {}, "connectionString"),
        ("/a.csv", {"schema": {"a": "integr"}}, "options.schema.a"),
        ("/a.csv", {"schema": {"a": "list<int>"}}, "options.schema.a"),
        ("/a.json", {"schema": {"a": "time"}}, "options.schema.a"),
        ("/a.csv", {"schema": {"a": "decimal(50, 2)"}}, "options.schema.a"),
        ("/a.csv", {"columns": ["a"], "header": True}, "options.columns"),
        ("/a.csv", {"columns": ["a", "a"]}, "options.columns"),
        ("/a.csv", {"columns": ["a"], "schema": {"b": "int"}}, "options.schema.b"),
        ("/a.csv", {"delimiter": "'", "quote": "'"}, "options.quote"),
        ("/a.csv", {"otherColumns": "drop"}, "options.otherColumns"),
        ("/a.json", {"header": True}, "options.header"),
        ("/a.json", {"nullValues": ["NA"]}, "options.nullValues"),
        ("/a.json.gz", {"delimiter": ";"}, "options.delimiter"),
        ("/a.txt", {"schema": {"a": "int"}}, "options.schema"),
        ("/a.parquet", {"encoding": "latin-1"}, "options.encoding"),
        ("/a.parquet", {"compression": "gzip"}, "options.compression"),
        ("/a.feather", {"schema": {"a": "int"}}, "options.schema"),
    ],
)
def test_options_that_contradict_each_other_are_named(
    connection: str, given: dict[str, object], field: str
) -> None:
    """An option that means nothing would be ignored, and its author be misled."""
    assert problems(connection, **given) == [field]


@pytest.mark.parametrize("name", ["__ordinal", "__error"])
def test_a_column_of_the_engines_own_is_refused_before_it_is_read(name: str) -> None:
    """At the first batch it would be too late for whoever wrote the schema."""
    assert problems("a.csv", schema={name: "int64"}) == [f"options.schema.{name}"]
    assert problems("a.csv", columns=["a", name]) == [f"options.columns.{name}"]


def test_options_that_fit_are_no_problem() -> None:
    """Among them the ones that the documentation shows."""
    shown = {
        "format": "csv",
        "header": True,
        "delimiter": ",",
        "nullValues": ["NA", ""],
        "schema": {"arr_delay": "float64", "carrier": "string"},
        "compression": "auto",
        "watch": False,
        "onError": "dead-letter",
    }
    assert problems("/data/flights.csv", **shown) == []
    assert problems("/a.ndjson", schema={"a": "list<struct<b: int>>"}) == []


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/a/b.csv", "/a/b.csv"),
        ("file:///a/b%20c.csv", "/a/b c.csv"),
        ("file://localhost/a.csv", "/a.csv"),
        ("file:///a/?.csv", "/a/?.csv"),
        ("a/*.csv", "a/*.csv"),
    ],
)
def test_a_file_url_is_a_path(text: str, path: str) -> None:
    """Other systems write local paths so; a glob may stand in one, too."""
    assert local_path(text) == path


def test_format_and_compression_go_by_the_extensions() -> None:
    """What the name says need not be said again; what the options say wins."""
    assert format_of("a.csv.gz", options()) == "csv"
    assert format_of("a.JSONL", options()) == "json"
    assert format_of("a.data", options()) is None
    assert format_of("a.csv", options(format="text")) == "text"
    assert compression_of("a.csv.zst", options()) == "zstd"
    assert compression_of("a.csv.gz", options(compression="none")) == "none"
    assert compression_of("a.csv", options(compression="gzip")) == "gzip"


def test_columns_are_declared_only_where_none_can_be_added() -> None:
    """Expressions are checked against them at create; a partial list would refuse good ones."""
    types = [{"name": "b", "type": "int"}, {"name": "a", "type": "string"}]
    assert SPEC.schema(options(schema=types)) is None
    closed = SPEC.schema(options(schema=types, otherColumns="drop"))
    assert list((closed or {}).items()) == [("b", "int"), ("a", "string")]
    named = options(columns=["a", "b"], schema=types)
    assert list(SPEC.schema(named) or {}) == ["a", "b"]
    assert SPEC.schema(options(columns=["a", "b"], schema=types[:1])) is None
    assert SPEC.schema(options(format="text")) == {"line": "string"}
