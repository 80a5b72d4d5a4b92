"""``sql``: a SELECT over each batch, in a process that can reach nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from dataflow.connect import Operator, Output, Rejected, TransformStep, Unavailable, load
from dataflow.connect.spec import parse
from dataflow.connect.testkit.operator import VIA
from dataflow.connect.transform import ERROR, MAIN, ORDINAL
from dataflow.connect.types import from_arrow
from dataflow.transforms.sql import Sql
from dataflow.transforms.sql_link import Task
from dataflow.transforms.sql_spec import PLANNER, SPEC, UNKNOWN, Planner
from tests.flights import Flights
from tests.oracle import asked, assert_same_rows, in_batches, rows_of
from tests.unit.transforms.rig import CONTEXT, batch, problems, schema

COLUMNS = {"a": "int64", "b": "string"}


@pytest.fixture(autouse=True, scope="module")
def _planning() -> None:
    """Wait until what plans has begun: on a busy machine the first to ask may not."""
    while PLANNER.plan("SELECT 1 AS one", {"a": "int64"}) == UNKNOWN:
        pass


@contextmanager
def step(select: str, **options: object) -> Iterator[Operator]:
    """Return the operator of a SELECT; its process ends with the test."""
    given = parse(SPEC.options, json.dumps({"select": select, **options}))
    made: Operator = load(SPEC.open)(TransformStep(id="s", transform_type="sql"), given, CONTEXT)
    try:
        yield made
    finally:
        made.close()


def answered(select: str, **columns: Any) -> Output:  # noqa: ANN401 - any data
    """Return what becomes of a batch."""
    with step(select) as made:
        return made.apply(batch(**columns), VIA)


def wrong(select: str, columns: Mapping[str, str] | None = COLUMNS) -> str:
    """Return what is wrong with a SELECT when a pipeline is created, or nothing."""
    found = problems(SPEC, {"select": select}, columns)
    assert [path for path, _ in found] in ([], ["options.select"])
    return found[0][1] if found else ""


def test_rows_come_out_as_the_select_makes_them_without_the_engines_columns() -> None:
    """They are new rows: the engine numbers them, and counts how many fewer or more they are."""
    with step("SELECT a, unnest(range(a)) AS n FROM input ORDER BY a DESC, n") as made:
        output = made.apply(batch(a=[1, 2, 2]), VIA)
        pairs = [(2, 0), (2, 0), (2, 1), (2, 1), (1, 0)]
        assert output.batches[MAIN].to_pylist() == [{"a": a, "n": n} for a, n in pairs]
        assert (output.filtered, output.produced) == (0, 2)
        output = made.apply(batch(a=[0, 1, 0]), VIA)
        assert (output.batches[MAIN].num_rows, output.filtered, output.produced) == (1, 2, 0)
        output = made.apply(batch(a=[0]), VIA)
        assert (output.batches[MAIN].schema.names, output.filtered) == (["a", "n"], 1)


def test_an_aggregate_is_one_over_each_batch_and_none_over_no_rows() -> None:
    """A step without a memory has nothing else to count."""
    with step("SELECT count(*) AS n FROM input") as made:
        outputs = [made.apply(batch(a=values), VIA) for values in ([1, 2, 3], [4])]
        assert [output.batches[MAIN].to_pylist() for output in outputs] == [[{"n": 3}], [{"n": 1}]]
        assert made.apply(batch(a=pa.array([], pa.int64())), VIA).batches == {}


def test_rows_that_have_no_answer_are_refused_together_and_the_next_batch_passes() -> None:
    """Which of them is at fault only the SELECT knows, and it stops at the first."""
    with step("SELECT CAST(b AS int) AS n FROM input") as made:
        rejected = made.apply(batch(b=["1", "x"]), VIA).rejected
        assert rejected is not None
        assert rejected.column(ORDINAL).to_pylist() == [0, 1]
        for said in map(str, rejected.column(ERROR).to_pylist()):
            assert "Could not convert string 'x' to INT" in said
        assert made.apply(batch(b=["1"]), VIA).batches[MAIN].to_pylist() == [{"n": 1}]


@pytest.mark.parametrize(
    "select",
    [
        "SELECT * FROM read_csv('{file}')",
        "SELECT * FROM '{file}'",
        "SELECT * FROM read_text('{file}')",
        "SELECT * FROM read_blob('{file}')",
        "SELECT * FROM read_json('{file}')",
        "SELECT * FROM read_parquet('{file}')",
        "SELECT * FROM parquet_metadata('{file}')",
        "SELECT * FROM sniff_csv('{file}')",
        "SELECT * FROM glob('/*')",
        "SELECT * FROM query('SELECT * FROM read_text(''{file}'')')",
        "SELECT * FROM 'http://127.0.0.1/x.csv'",
        "SELECT * FROM read_text('s3://bucket/x')",
        "SELECT * FROM sqlite_scan('{file}', 't')",
        "SELECT * FROM postgres_scan('host=127.0.0.1', 'public', 't')",
        "SELECT getenv('HOME')",
        "SELECT * FROM enable_logging(storage := 'file')",
        "SELECT * FROM rows",
        "COPY (SELECT 1) TO '{out}'",
        "COPY input FROM '{file}'",
        "ATTACH '{out}' AS x",
        "EXPORT DATABASE '{out}'",
        "IMPORT DATABASE '{file}'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "LOAD '{file}'",
        "PRAGMA enable_external_access = true",
        "PRAGMA database_list",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "CALL pragma_version()",
        "CREATE TABLE t AS SELECT 1",
        "CREATE SECRET (TYPE s3)",
        "INSERT INTO input VALUES (1, 'x')",
        "DELETE FROM input",
        "EXPLAIN ANALYZE SELECT 1",
        "SELECT 1; COPY (SELECT 1) TO '{out}'",
        "",
        ";",
    ],
)
def test_a_select_reaches_no_file_no_network_and_no_setting(select: str, tmp_path: Path) -> None:
    """Whoever may write a pipeline may not read this machine through it."""
    file, out = tmp_path / "secret.csv", tmp_path / "out"
    file.write_text("a\nsesame\n")
    text = select.format(file=file, out=out) or " "
    said = wrong(text)
    assert said
    assert "sesame" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["secret.csv"]


def test_the_system_holds_what_duckdb_might_let_through(tmp_path: Path) -> None:
    """Its settings are its own word; these limits are the kernel's, and cannot be raised again."""
    file = tmp_path / "secret"
    file.write_text("sesame")
    script = f"""
import json, resource, socket
from dataflow.transforms.sql_link import Task
from dataflow.transforms.sql_program import confine
confine(Task(memory_limit=1 << 26, time_s_max=1))
told = []
for act in (lambda: open({str(file)!r}), socket.socket, lambda: bytearray(1 << 28)):
    try:
        act()
    except (OSError, MemoryError) as error:
        told.append(type(error).__name__)
kinds = resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE, resource.RLIMIT_NPROC
told.append([resource.getrlimit(kind) for kind in kinds])
print(json.dumps(told))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    limits = [[3, 3], [0, 0], [0, 0]]
    assert json.loads(run.stdout) == ["OSError", "OSError", "MemoryError", limits]


ENDLESS = (
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r) SELECT max(n) AS n FROM r"
)


def test_a_select_that_takes_too_long_is_ended_and_tried_again_in_a_new_process() -> None:
    """Also one that does not answer an interruption: the alarm ends the process."""
    with step(ENDLESS, timeLimit="200ms") as made:
        for _ in range(2):
            with pytest.raises(Unavailable, match=r"longer than 0\.2 s") as raised:
                made.apply(batch(a=[1]), VIA)
            assert raised.value.code == "BATCH_TIMED_OUT"


@pytest.mark.parametrize(
    "select",
    [
        "SELECT range(100000000) AS l FROM input",
        "SELECT list(x.i ORDER BY y.i) AS l FROM range(20000) AS x(i), range(20000) AS y(i)",
    ],
)
def test_a_select_that_takes_too_much_memory_fails_the_pipeline_and_harms_nobody(
    select: str,
) -> None:
    """Constants, which DuckDB does not count, are held by the system."""
    too_much = pytest.raises(Rejected, match="more than memoryLimit, 67108864")
    with step(select, memoryLimit=1 << 26) as made, too_much:
        made.apply(batch(b=["x"]), VIA)


def test_a_process_that_has_gone_is_begun_again_without_this_ones_environment() -> None:
    """Killed by the system, say. Secrets are in an environment, and none is needed."""
    with step("SELECT a FROM input") as made:
        made.apply(batch(a=[1]), VIA)
        assert isinstance(made, Sql)
        process = made._process._process
        assert process is not None
        assert Path(f"/proc/{process.pid}/environ").read_bytes() == b""
        process.kill()
        process.wait()
        assert made.apply(batch(a=[1]), VIA).batches[MAIN].num_rows == 1


def test_what_plans_ends_when_it_is_idle_and_is_begun_again() -> None:
    """A server that is asked for a SELECT once a month keeps no process for it."""
    planner = Planner()
    planner._process._task = Task(memory_limit=1 << 27, time_s_max=60, idle_s_max=0.05)
    for _ in range(2):
        planned = planner._planned("SELECT a FROM input", (("a", "date"),))
        assert planned.columns == {"a": "date"}
        process = planner._process._process
        assert process is not None
        process.wait(60)
    planner.close()


TYPES: Mapping[str, Any] = {
    "bool": pa.bool_(),
    "int8": pa.int8(),
    "uint64": pa.uint64(),
    "float32": pa.float32(),
    "decimal(10, 2)": pa.decimal128(10, 2),
    "string": pa.string(),
    "bytes": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp(ns)": pa.timestamp("ns"),
    "timestamp(us, 'UTC')": pa.timestamp("us", "UTC"),
    "timestamp(ms, 'Europe/Berlin')": pa.timestamp("ms", "Europe/Berlin"),
    "list<int64>": pa.list_(pa.int64()),
    "struct<x: int64, y: list<string>>": pa.struct(
        [("x", pa.int64()), ("y", pa.list_(pa.string()))]
    ),
}


def test_the_types_that_go_out_are_known_when_the_pipeline_is_created() -> None:
    """The next step is checked against them, so they must be those that come."""
    columns = {f"c{at}": of for at, of in enumerate(TYPES)}
    select = (
        "SELECT *, count(*) OVER () AS n, c1 / 2 AS half, c4 * c4 AS square,"
        " date_trunc('day', c10) AS d, [c0] AS l, sum(c1) OVER () AS s, 1.5 AS lit,"
        " NULL AS nothing, {'a': c6} AS st FROM input"
    )
    arrays = {f"c{at}": pa.nulls(2, of) for at, of in enumerate(TYPES.values())}
    found = answered(select, **arrays).batches[MAIN].schema
    assert schema(SPEC, {"select": select}, columns) == {
        field.name: str(from_arrow(field.type)) for field in found
    }


@pytest.mark.parametrize(
    ("select", "said"),
    [
        ("SELECT nope FROM input", 'Referenced column "nope" not found'),
        ("SELECT FROM input", "Parser Error"),
        ("SELECT a FROM nope", "Table with name nope does not exist"),
        ("SELECT a, a FROM input", "2 columns are named 'a'; name them apart by AS"),
        ("SELECT a AS __ordinal FROM input", "'__ordinal' is no name for a column"),
        ("SELECT __ordinal FROM input", "not found"),
        ("SELECT INTERVAL 1 DAY AS i FROM input", "no other step knows the type"),
        ("SELECT $1 AS x FROM input", "parameter"),
    ],
)
def test_what_is_wrong_is_reported_when_the_pipeline_is_created(select: str, said: str) -> None:
    """As DuckDB says it, with the place."""
    assert said in wrong(select)


@pytest.mark.parametrize("select", ["SELECT nope FROM input", "COPY input TO 'out'"])
def test_what_was_not_known_then_fails_the_pipeline_at_the_first_batch(select: str) -> None:
    """A source that declares no schema shows its columns only then."""
    with pytest.raises(Rejected, match=r"options\.select"):
        answered(select, a=[1])


def test_without_columns_only_the_text_is_checked() -> None:
    """A source that declares no schema shows its columns only then."""
    assert wrong("SELECT nope FROM input", None) == ""
    assert "Parser Error" in wrong("SELEC", None)
    assert "write one SELECT" in wrong("DROP TABLE input", None)


def test_columns_that_differ_in_case_alone_are_refused() -> None:
    """SQL would take one for the other, or rename it."""
    assert "takes the columns a, A for one" in wrong("SELECT 1 AS x", {"a": "int64", "A": "int64"})


def test_the_weather_comes_out_as_duckdb_gives_it(nyc: Flights) -> None:
    """Row by row in batches; DuckDB here is the oracle's, without the process and its pipe."""
    select = (
        "SELECT origin, time_hour, round((temp - 32) / 1.8, 1) AS celsius,"
        " CASE WHEN precip > 0.1 THEN 'wet' END AS wet FROM {} WHERE wind_gust > 20"
    )
    with step(select.format("input")) as made:
        outputs = [made.apply(rows, VIA) for rows in in_batches(nyc.weather, 10_000)]
    assert_same_rows(rows_of(outputs), asked(select.format("weather"), weather=nyc.weather))
