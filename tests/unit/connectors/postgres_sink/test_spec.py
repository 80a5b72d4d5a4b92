"""What is wrong with options is said before anything runs, and without a driver."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from dataflow.connect import SinkStep
from dataflow.connect.spec import parse
from dataflow.connectors.postgres.session import resolved, server_of
from dataflow.connectors.postgres.sink_spec import SPEC, PostgresSinkOptions
from dataflow.connectors.postgres.types import widened

URL = "postgresql://u@h/d"


def problems(url: str, **options: Any) -> list[str]:  # noqa: ANN401 - whatever JSON holds
    """Return what is wrong with a step."""
    text = json.dumps({"table": "t", **options})
    step = SinkStep("postgres", url, options=text)
    return [str(problem) for problem in SPEC.check(step, parse(PostgresSinkOptions, text))]


@pytest.mark.parametrize(
    "url",
    [URL, "postgres://h/d", "${env:URL}", "postgresql://u:${env:P}@h1:1,h2:2/d?sslmode=require"],
)
def test_a_url_that_names_host_and_database_is_accepted(url: str) -> None:
    """What a reference stands for is known where the pipeline runs."""
    assert problems(url) == []


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("", "connectionString: missing; write postgresql://user:password@host:port/database"),
        ("mysql://h/d", "connectionString: write postgresql://"),
        ("host=h dbname=d", "connectionString: write postgresql://"),
        ("postgresql:///d", "connectionString: names no host"),
        ("postgresql://u@h", "connectionString: names no database"),
    ],
)
def test_a_url_that_does_not_is_refused(url: str, told: str) -> None:
    """The driver would fill in the name of the user, or a host of its own."""
    (problem,) = problems(url)
    assert problem.startswith(told)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"mode": "upsert"}, "options.keys: missing"),
        ({"keys": ["id"]}, "options.keys: only for mode upsert, or with create"),
        ({"mode": "upsert", "keys": ["a", "a"]}, "options.keys: a column is named twice"),
        ({"deleteColumn": "op"}, "options.deleteColumn: only for mode upsert"),
        ({"truncates": "apply"}, "options.truncates: needs deleteColumn, which tells of them"),
        (
            {"mode": "upsert", "keys": ["op"], "deleteColumn": "op"},
            "options.deleteColumn: is one of the keys",
        ),
        ({"table": "a.b.c"}, "options.table: write table or schema.table"),
        ({"table": "a."}, "options.table: write table or schema.table"),
        ({"table": "ä" * 32}, "options.table: a name has at most 63 bytes"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], told: str) -> None:
    """One of them would do nothing, or something else than what was meant."""
    (problem,) = problems(URL, **options)
    assert problem.startswith(told)


def test_a_place_names_server_database_and_table_without_the_password() -> None:
    """A source of the same table is found by it."""
    step = SinkStep("postgres", "postgresql://u:${env:P}@h/d?sslmode=x", options='{"table": "t"}')
    assert SPEC.place(step) == "h:5432/d/public.t"
    assert SPEC.place(SinkStep("postgres", "${env:URL}", options='{"table": "t"}')) == ""
    assert SPEC.place(SinkStep("postgres", URL, options="{")) == ""


def test_the_spec_loads_no_driver_and_no_arrow() -> None:
    """It is imported by every program, whether or not a pipeline uses it."""
    module = "dataflow.connectors.postgres.sink_spec"
    script = f"import sys, {module}; print(*{{'asyncpg', 'polars', 'pyarrow'}} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_a_secret_may_hold_any_character() -> None:
    """Unquoted, a password with a slash would be taken for the end of the host."""
    url = resolved("postgresql://u:${env:P}@h/d", lambda _: "p@s/s?w%rd")
    assert url == "postgresql://u:p%40s%2Fs%3Fw%25rd@h/d"
    assert resolved("${env:URL}", lambda _: "postgresql://u:p%40@h/d") == "postgresql://u:p%40@h/d"
    assert server_of(url) == "h/d"


@pytest.mark.parametrize(
    ("existing", "wanted", "wide"),
    [
        ("integer", "bigint", "bigint"),
        ("bigint", "integer", ""),
        ("bigint", "double precision", ""),
        ("character varying(3)", "text", "text"),
        ("text", "bigint", ""),
        ("numeric(4,2)", "numeric(6,4)", "numeric(6,4)"),
        ("numeric(10,0)", "numeric(4,4)", "numeric(14,4)"),
        ("numeric(10,2)", "numeric(4,2)", ""),
        ("numeric", "numeric(4,2)", ""),
        ("numeric(4,2)", "numeric", "numeric"),
        ("bigint[]", "text", ""),
    ],
)
def test_a_column_is_widened_only_to_what_holds_every_value(
    existing: str, wanted: str, wide: str
) -> None:
    """A value that changes its digits is lost data."""
    assert widened(existing, wanted) == wide
