"""What is wrong with options is said before anything runs, and without a driver."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from dataflow.connect import PipelineId, SourceStep
from dataflow.connect.spec import parse
from dataflow.connectors.postgres.source.columns import type_of
from dataflow.connectors.postgres.source.replication import shown
from dataflow.connectors.postgres.source.slots import slot_name
from dataflow.connectors.postgres.source.spec import SPEC, PostgresSourceOptions


def problems(**options: Any) -> list[str]:  # noqa: ANN401 - whatever JSON holds
    """Return what is wrong with a step."""
    text = json.dumps({"table": "t", **options})
    step = SourceStep("postgres", "postgresql://u@h/d", options=text)
    return [str(problem) for problem in SPEC.check(step, parse(PostgresSourceOptions, text))]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"table": "a.b.c"}, "options.table: write table or schema.table"),
        ({"lsnColumn": "op"}, "options: two columns are named 'op'"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options: dict[str, Any], told: str) -> None:
    """One of them would do nothing, or something else than what was meant."""
    assert problems(**options) == [told]


def test_the_spec_loads_no_driver_and_no_arrow() -> None:
    """It is imported by every program, whether or not a pipeline uses it."""
    module = "dataflow.connectors.postgres.source.spec"
    drivers = "{'asyncpg', 'psycopg', 'polars', 'pyarrow'}"
    script = f"import sys, {module}; print(*{drivers} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


def test_a_slot_has_a_name_of_its_own_that_the_server_takes() -> None:
    """Names are the server's, of 63 characters at most, lower case without hyphens."""
    names = [
        slot_name(PipelineId(pipeline), "source", database)
        for pipeline in ("a-b", "x" * 63, "x" * 62 + "y")
        for database in ("d", "e")
    ]
    assert len({*names}) == 6
    assert max(map(len, names)) <= 63
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_") for name in names)


@pytest.mark.parametrize(
    ("postgres", "ours"),
    [
        ("integer", "int32"),
        ("numeric(10,2)", "decimal(10, 2)"),
        ("numeric(39,0)", "string"),
        ("numeric(2,-3)", "string"),
        ("numeric(2,4)", "string"),
        ("timestamp(3) with time zone", "timestamptz"),
        ("character varying(7)", "string"),
        ("integer[]", "string"),
    ],
)
def test_types_are_those_that_hold_every_value(postgres: str, ours: str) -> None:
    """Text holds all that no type here does."""
    assert type_of(postgres) == ours


def test_positions_read_as_the_server_writes_them() -> None:
    """An operator compares them with pg_replication_slots."""
    assert shown(0x1_0000_00AB) == "1/AB"
